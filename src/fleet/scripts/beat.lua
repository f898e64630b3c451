-- A process is there. Which epoch it is, since when, what this process is in it, how many are waited for, how many are there, and how many
-- are one or the other; nothing, where the data of this server are not those of an epoch: it was started anew.
-- KEYS: epoch, members, waiting, live. ARGV: the server's run, the process.
local id, run, since = unpack(redis.call('HMGET', KEYS[1], 'id', 'run', 'since'))
if not id or run ~= ARGV[1] then return {} end
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[4], now, ARGV[2])
local state = redis.call('HGET', KEYS[2], ARGV[2]) or ''
local waiting = redis.call('SMEMBERS', KEYS[3])
local live = redis.call('ZCOUNT', KEYS[4], now - 5, '+inf')
local all = live
for _, process in ipairs(waiting) do
  if tonumber(redis.call('ZSCORE', KEYS[4], process) or 0) < now - 5 then all = all + 1 end
end
return {id, since, state, tostring(#waiting), tostring(live), tostring(all)}
