-- A process has told all that it has spent and holds. KEYS: epoch, members, waiting, notes. ARGV: the epoch, the process, the place of this
-- among what it says.
local me = ARGV[2]
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return 0 end
if tonumber(redis.call('HGET', KEYS[4], 'n' .. me) or -1) >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[4], 'n' .. me, ARGV[3])
redis.call('HSET', KEYS[2], me, 'there')
redis.call('SREM', KEYS[3], me)
return 1
