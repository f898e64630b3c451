-- What a process that is gone was granted becomes what it has spent; all of it, if the ledger lacks some of what has happened there, or may.
-- KEYS: epoch, members, live, notes, then accounts. ARGV: the epoch, the process,
-- whether these are the last of its accounts, whether the ledger's database was there all the time, then of each what the ledger knows to be spent.
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] or redis.call('HGET', KEYS[2], ARGV[2]) ~= 'gone' then return 0 end
local is_behind = ARGV[4] ~= '1' or redis.call('HGET', KEYS[4], 'd' .. ARGV[2])
for place = 5, #KEYS do
  local told = redis.call('HMGET', KEYS[place], 'g' .. ARGV[2], 's' .. ARGV[2])
  if told[1] then
    -- Never less than what it told itself: rows may be in a file of its own.
    local spent = string.format('%.0f', math.max(tonumber(ARGV[place]), tonumber(told[2]), is_behind and tonumber(told[1]) or 0))
    redis.call('HSET', KEYS[place], 'g' .. ARGV[2], spent, 's' .. ARGV[2], spent)
  end
end
if ARGV[3] == '1' then
  redis.call('HSET', KEYS[2], ARGV[2], 'settled')
  redis.call('ZREM', KEYS[3], ARGV[2])
end
return 1
