-- A process ends, with nothing held. KEYS: epoch, members, waiting, live, then its accounts. ARGV: the epoch, the process, whether these are
-- the last of its accounts, then of each what it has spent.
local me = ARGV[2]
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] or redis.call('HGET', KEYS[2], me) ~= 'there' then return 0 end
for place = 5, #KEYS do
  if redis.call('HDEL', KEYS[place], 'g' .. me, 's' .. me) > 0 then
    redis.call('HINCRBY', KEYS[place], 'l', ARGV[place - 1])
  end
end
if ARGV[3] == '1' then
  redis.call('HSET', KEYS[2], me, 'left')
  redis.call('SREM', KEYS[3], me)
  redis.call('ZREM', KEYS[4], me)
end
return 1
