-- What a process that is gone was granted becomes what it may have spent: what it had announced, or all of it, if it went on without us.
-- KEYS: epoch, members, live, then accounts. ARGV: the epoch, the process,
-- whether these are the last of its accounts, whether it went on without us, then of each what the ledger knows to be spent.
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] or redis.call('HGET', KEYS[2], ARGV[2]) ~= 'gone' then return 0 end
for place = 4, #KEYS do
  local told = redis.call('HMGET', KEYS[place], 'g' .. ARGV[2], 'u' .. ARGV[2], 's' .. ARGV[2])
  if told[1] then
    -- Never less than what it told itself: rows may be in a file of its own.
    local spent = math.max(tonumber(ARGV[place + 1]), tonumber(told[3]))
    local most = math.max(spent, tonumber(ARGV[4] == '0' and told[2] or told[1]))
    redis.call('HSET', KEYS[place], 'g' .. ARGV[2], string.format('%.0f', most), 's' .. ARGV[2], string.format('%.0f', spent))
    redis.call('HDEL', KEYS[place], 'u' .. ARGV[2])
  end
end
if ARGV[3] == '1' then
  redis.call('HSET', KEYS[2], ARGV[2], 'settled')
  redis.call('ZREM', KEYS[3], ARGV[2])
end
return 1
