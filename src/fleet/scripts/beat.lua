-- A process is there. Which epoch it is, since when, what this process is in it, how many are waited for, and how many are there;
-- nothing, where the data of this server are not those of an epoch: it was started anew.
-- KEYS: epoch, members, waiting, live. ARGV: the server's run, the process.
local id, run, since = unpack(redis.call('HMGET', KEYS[1], 'id', 'run', 'since'))
if not id or run ~= ARGV[1] then return {} end
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[4], now, ARGV[2])
local state = redis.call('HGET', KEYS[2], ARGV[2]) or ''
return {id, since, state, tostring(redis.call('SCARD', KEYS[3])), tostring(redis.call('ZCOUNT', KEYS[4], now - 5, '+inf'))}
