-- Writes down how a process's accounts stand, and grants what they lack: all of it, or nothing.
-- KEYS: epoch, members, waiting, live, notes, then accounts. ARGV: the epoch, the process, the place of this among what it says, what is done
-- (join, tell or ask), then of each account the seconds to keep it, what is granted to the process with what it has spent, what of that it
-- spends at most before it tells of more, what it has spent, what the budget allows, what the process lacks, whether nothing was spent before
-- this epoch, what it is called in every period, and the period's number. Amounts are whole numbers below 2^53. With what is granted all of
-- it may be spent.
-- Of each account: what is granted now, what others have spent (-1 where that is not known), and what is left to be granted.
-- The notes say of each account which period was last written: one that is not there then is lost.
local EACH = 9
local me, what = ARGV[2], ARGV[4]
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return {'epoch', {}} end
local state = redis.call('HGET', KEYS[2], me)
if what ~= 'join' and state ~= 'there' then return {'gone', {}} end
if redis.call('HGET', KEYS[5], 'epoch') ~= ARGV[1] then return {'lost', {}} end
if tonumber(redis.call('HGET', KEYS[5], 'n' .. me) or -1) >= tonumber(ARGV[3]) then return {'late', {}} end
redis.call('HSET', KEYS[5], 'n' .. me, ARGV[3])
if what == 'ask' and redis.call('SCARD', KEYS[3]) > 0 then return {'settling', {}} end
if what == 'join' and state ~= 'there' then redis.call('HSET', KEYS[2], me, 'joining') end
local now = tonumber(redis.call('TIME')[1])
local processes = math.max(1, redis.call('ZCOUNT', KEYS[4], now - 5, '+inf'))
local function whole(number) return string.format('%.0f', number) end

local accounts, is_refused = {}, false
for place = 6, #KEYS do
  local at = 4 + (place - 6) * EACH
  local account = {
    keep = ARGV[at + 1], granted = tonumber(ARGV[at + 2]), announced = tonumber(ARGV[at + 3]), spent = tonumber(ARGV[at + 4]),
    lacks = tonumber(ARGV[at + 6]), elsewhere = 0,
    name = 'a' .. ARGV[at + 8], number = ARGV[at + 9],
  }
  local base, others, known = nil, 0, nil
  local fields = redis.call('HGETALL', KEYS[place])
  for one = 1, #fields, 2 do
    local kind, process, value = fields[one]:sub(1, 1), fields[one]:sub(2), tonumber(fields[one + 1])
    if kind == 'b' then base = value
    elseif kind == 'l' then others, account.elsewhere = others + value, account.elsewhere + value
    elseif kind == 'g' then
      if process == me then known = value else others = others + value end
    elseif kind == 's' and process ~= me then account.elsewhere = account.elsewhere + value end
  end
  account.noted = tonumber(redis.call('HGET', KEYS[5], account.name) or '')
  if #fields == 0 and account.noted == tonumber(account.number) then return {'lost', {}} end
  if not base and ARGV[at + 7] == '1' then
    base = 0
    account.is_first = true
  end
  if not base and what == 'ask' then return {'base', {}} end
  account.is_new = not known and account.granted == 0 and account.spent == 0 and what ~= 'ask'
  account.left = tonumber(ARGV[at + 5]) - (base or 0) - others - account.granted
  account.elsewhere = base and account.elsewhere + base or -1
  -- One that has enough refuses nobody, though its budget is lower by now than what was granted of it.
  if what == 'ask' and account.lacks > 0 and account.lacks > account.left then is_refused = true end
  accounts[place] = account
end

local reply = {}
for place = 6, #KEYS do
  local account = accounts[place]
  if what == 'ask' and not is_refused then
    if account.lacks > 0 then
      local given = math.max(account.lacks, math.floor(account.left / (4 * processes)))
      account.granted, account.left = account.granted + given, account.left - given
    end
    account.announced = account.granted
  end
  if not account.is_new then
    redis.call('HSET', KEYS[place], 'g' .. me, whole(account.granted), 'u' .. me, whole(account.announced), 's' .. me, whole(account.spent))
    if what == 'ask' and account.is_first then redis.call('HSET', KEYS[place], 'b', 0) end
    if not account.noted or account.noted < tonumber(account.number) then
      redis.call('HSET', KEYS[5], account.name, account.number)
    end
  end
  redis.call('EXPIRE', KEYS[place], account.keep)
  table.insert(reply, account.granted)
  table.insert(reply, account.elsewhere)
  table.insert(reply, math.max(0, account.left))
end
return {is_refused and 'refused' or 'ok', reply}
