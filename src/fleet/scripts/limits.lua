-- Writes down what a process has used of limits, and grants what it lacks of them: all of it, or nothing.
-- KEYS: epoch, members, waiting, live, notes, then limits. ARGV: the epoch, the process, the place of this among what it says, then of each
-- limit what it is (rate or count), what was granted to the process and is not used (of a count, what is in use with it), what was used
-- since that was told, how much there is at most, and what the process lacks. A rate's are microseconds: the time in which so much comes back.
-- Of each limit: what is granted, what is left, and what is missing, which of a rate is the time to wait.
local EACH = 5
local me = ARGV[2]
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] or redis.call('HGET', KEYS[2], me) ~= 'there' then return {'outside', {}} end
if tonumber(redis.call('HGET', KEYS[5], 'n' .. me) or -1) >= tonumber(ARGV[3]) then return {'late', {}} end
redis.call('HSET', KEYS[5], 'n' .. me, ARGV[3])
local is_settling = redis.call('SCARD', KEYS[3]) > 0
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local live, processes = {}, 0
for _, process in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], tonumber(time[1]) - 15, '+inf')) do
  live[process] = true
  processes = processes + 1
end
local function whole(number) return string.format('%.0f', number) end

local limits, is_refused = {}, false
for place = 6, #KEYS do
  local at = 3 + (place - 6) * EACH
  local limit = {kind = ARGV[at + 1], held = tonumber(ARGV[at + 2]), lacks = tonumber(ARGV[at + 5])}
  if is_settling and limit.lacks > 0 then return {'settling', {}} end
  local full_at, others = now, 0
  local fields = redis.call('HGETALL', KEYS[place])
  for one = 1, #fields, 2 do
    local field, value = fields[one], tonumber(fields[one + 1])
    if field == 'full' then full_at = math.max(full_at, value)
    elseif live[field] then
      if field ~= me then others = others + value end
    else
      -- A process that is gone; whatever of a rate it was granted counts as used.
      redis.call('HDEL', KEYS[place], field)
      if limit.kind == 'rate' then full_at = full_at + value end
    end
  end
  -- An hour's worth may be owed.
  full_at = math.min(math.max(now, full_at + tonumber(ARGV[at + 3])), now + 3600000000)
  limit.full_at = full_at
  limit.left = tonumber(ARGV[at + 4]) - others - limit.held
  if limit.kind == 'rate' then limit.left = limit.left - (full_at - now) end
  if limit.lacks > 0 and limit.lacks > limit.left then is_refused = true end
  limits[place] = limit
end

local reply = {}
for place = 6, #KEYS do
  local limit = limits[place]
  local given = 0
  if not is_refused and limit.lacks > 0 then
    given = math.max(limit.lacks, math.floor(limit.left / (4 * math.max(1, processes))))
  end
  redis.call('HSET', KEYS[place], me, whole(limit.held + given))
  if limit.kind == 'rate' then redis.call('HSET', KEYS[place], 'full', whole(limit.full_at)) end
  redis.call('EXPIRE', KEYS[place], 172800)
  table.insert(reply, given)
  table.insert(reply, math.max(0, limit.left - given))
  table.insert(reply, limit.lacks > 0 and math.max(0, limit.lacks - limit.left) or 0)
end
return {is_refused and 'refused' or 'ok', reply}
