-- A process ends, with nothing held. KEYS: epoch, members, waiting, live, notes, then its accounts. ARGV: the epoch, the process,
-- whether these are the last of its accounts, the place of this among what it says, then of each what it has spent.
local me = ARGV[2]
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] or redis.call('HGET', KEYS[2], me) ~= 'there' then return 0 end
if tonumber(redis.call('HGET', KEYS[5], 'n' .. me) or -1) >= tonumber(ARGV[4]) then return 0 end
redis.call('HSET', KEYS[5], 'n' .. me, ARGV[4])
for place = 6, #KEYS do
  if redis.call('HDEL', KEYS[place], 'g' .. me, 'u' .. me, 's' .. me) > 0 then
    redis.call('HINCRBY', KEYS[place], 'l', ARGV[place - 1])
  end
end
if ARGV[3] == '1' then
  redis.call('HSET', KEYS[2], me, 'left')
  redis.call('SREM', KEYS[3], me)
  redis.call('ZREM', KEYS[4], me)
  redis.call('HDEL', KEYS[5], 'n' .. me)
end
return 1
