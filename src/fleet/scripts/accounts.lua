-- Writes down how a process's accounts stand, and grants what they lack: all of it, or nothing.
-- KEYS: epoch, members, waiting, live, then accounts. ARGV: the epoch, the process, what is done (join, tell or ask), then of
-- each account the seconds to keep it, what is granted to the process with what it has spent, what it has spent, what the budget
-- allows, what the process lacks, and whether nothing was spent before this epoch. Amounts are whole numbers below 2^53.
-- Of each account: what is granted now, what others have spent (-1 where that is not known), and what is left to be granted.
local EACH = 6
local me, what = ARGV[2], ARGV[3]
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return {'epoch', {}} end
if what ~= 'join' and redis.call('HGET', KEYS[2], me) ~= 'there' then return {'gone', {}} end
if what == 'ask' and redis.call('SCARD', KEYS[3]) > 0 then return {'settling', {}} end
local now = tonumber(redis.call('TIME')[1])
local processes = math.max(1, redis.call('ZCOUNT', KEYS[4], now - 5, '+inf'))
local function whole(number) return string.format('%.0f', number) end

local accounts, is_refused = {}, false
for place = 5, #KEYS do
  local at = 3 + (place - 5) * EACH
  local account = {
    keep = ARGV[at + 1], granted = tonumber(ARGV[at + 2]), spent = tonumber(ARGV[at + 3]),
    lacks = tonumber(ARGV[at + 5]), elsewhere = 0,
  }
  local base, others, known = nil, 0, nil
  local fields = redis.call('HGETALL', KEYS[place])
  for one = 1, #fields, 2 do
    local kind, process, value = fields[one]:sub(1, 1), fields[one]:sub(2), tonumber(fields[one + 1])
    if kind == 'b' then base = value
    elseif kind == 'l' then others, account.elsewhere = others + value, account.elsewhere + value
    elseif kind == 'g' then
      if process == me then known = value else others = others + value end
    elseif process ~= me then account.elsewhere = account.elsewhere + value end
  end
  if not known and account.granted > 0 and what ~= 'join' then return {'lost', {}} end
  if not base and ARGV[at + 6] == '1' then
    base = 0
    if what == 'ask' then redis.call('HSET', KEYS[place], 'b', 0) end
  end
  if not base and what == 'ask' then return {'base', {}} end
  account.is_new = not known and account.granted == 0 and account.spent == 0 and what ~= 'ask'
  account.left = tonumber(ARGV[at + 4]) - (base or 0) - others - account.granted
  account.elsewhere = base and account.elsewhere + base or -1
  if what == 'ask' and account.lacks > account.left then is_refused = true end
  accounts[place] = account
end

local reply = {}
for place = 5, #KEYS do
  local account = accounts[place]
  if what == 'ask' and not is_refused and account.lacks > 0 then
    local given = math.max(account.lacks, math.floor(account.left / (4 * processes)))
    account.granted, account.left = account.granted + given, account.left - given
  end
  if not account.is_new then
    redis.call('HSET', KEYS[place], 'g' .. me, whole(account.granted), 's' .. me, whole(account.spent))
    redis.call('EXPIRE', KEYS[place], account.keep)
  end
  table.insert(reply, account.granted)
  table.insert(reply, account.elsewhere)
  table.insert(reply, math.max(0, account.left))
end
return {is_refused and 'refused' or 'ok', reply}
