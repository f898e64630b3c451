-- What was spent of accounts by nobody who is a member of this epoch, from the ledger; 0 where there are other members by now.
-- KEYS: epoch, members, then accounts. ARGV: the epoch, the number of members, then of each account the seconds to keep it, and what was
-- spent.
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] or redis.call('HLEN', KEYS[2]) ~= tonumber(ARGV[2]) then return 0 end
for place = 3, #KEYS do
  local at = 2 + (place - 3) * 2
  redis.call('HSETNX', KEYS[place], 'b', ARGV[at + 2])
  redis.call('EXPIRE', KEYS[place], ARGV[at + 1])
end
return 1
