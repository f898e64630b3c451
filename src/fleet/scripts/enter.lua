-- A process has told all that it has spent and holds. KEYS: epoch, members, waiting. ARGV: the epoch, the process.
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[2], ARGV[2], 'there')
redis.call('SREM', KEYS[3], ARGV[2])
return 1
