-- A process that the database has not heard of for a while: whether this server has not, either. Then it is a member no more, and what it
-- was granted is to be made what it may have spent. KEYS: epoch, members, waiting, live. ARGV: the epoch, the process, the seconds after which
-- one is gone.
local id, since = unpack(redis.call('HMGET', KEYS[1], 'id', 'since'))
if id ~= ARGV[1] then return 0 end
local silent = tonumber(redis.call('TIME')[1]) - tonumber(redis.call('ZSCORE', KEYS[4], ARGV[2]) or since)
if silent < tonumber(ARGV[3]) then return 0 end
redis.call('SREM', KEYS[3], ARGV[2])
local state = redis.call('HGET', KEYS[2], ARGV[2])
if state ~= 'joining' and state ~= 'there' and state ~= 'gone' then return 0 end
redis.call('HSET', KEYS[2], ARGV[2], 'gone')
return 1
