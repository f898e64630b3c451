-- What was spent of accounts by nobody who is a member of this epoch, from the ledger; 0 where there are other members by now.
-- KEYS: epoch, members, notes, then accounts. ARGV: the epoch, the number of members, then of each account the seconds to keep it, what was
-- spent, what it is called in every period, and the period's number.
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] or redis.call('HLEN', KEYS[2]) ~= tonumber(ARGV[2]) then return 0 end
for place = 4, #KEYS do
  local at = 2 + (place - 4) * 4
  local name, number = 'a' .. ARGV[at + 3], ARGV[at + 4]
  -- One that was there is lost: that is found by whoever asks.
  if redis.call('EXISTS', KEYS[place]) == 1 or redis.call('HGET', KEYS[3], name) ~= number then
    redis.call('HSETNX', KEYS[place], 'b', ARGV[at + 2])
    redis.call('EXPIRE', KEYS[place], ARGV[at + 1])
    redis.call('HSET', KEYS[3], name, number)
  end
end
return 1
