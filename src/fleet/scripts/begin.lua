-- Begins an epoch, unless somebody has begun one by now: nobody is granted anything until all who may have spent have told it.
-- KEYS: epoch, members, waiting, live, notes. ARGV: the server's run, the new epoch, the one whose data are lost, the processes to wait for.
local id, run = unpack(redis.call('HMGET', KEYS[1], 'id', 'run'))
if id and run == ARGV[1] and id ~= ARGV[3] then return id end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
redis.call('HSET', KEYS[1], 'id', ARGV[2], 'run', ARGV[1], 'since', redis.call('TIME')[1])
redis.call('HSET', KEYS[5], 'epoch', ARGV[2])
for place = 4, #ARGV do redis.call('SADD', KEYS[3], ARGV[place]) end
return ARGV[2]
