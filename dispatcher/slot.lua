-- slot: take slots of a limit: leases that come with a number and with no lane.
--
-- ARGV[6]  name of the limit
-- ARGV[7]  holder
-- ARGV[8]  ttl      ms
-- ARGV[9]  most to take
--
-- Returns  {'ok', later, starts, mark, token, number of each slot...}: so many starts are free
--          now, each with a slot when the limit has any, and more may be after `later` ms
--          ('-': when somebody gives one back); mark is for giving starts back
--          {'none'}: no such limit; nothing may start | {'stale'}
--
-- How many are taken is counted from the leases themselves, so no counter can drift, and a
-- dead holder's slots are free when its leases are over (G12).

local before = answered()
if before then
  return before
end

local name, holder, ttl, most = ARGV[FIRST], ARGV[FIRST + 1], tonumber(ARGV[FIRST + 2]), tonumber(ARGV[FIRST + 3])
local LIMITS = extra('limits')
local size, every = string.match(call('HGET', LIMITS, name) or '', '^(%d+) (%d+)$')
if not size then
  return { 'none' }
end
size, every = tonumber(size), tonumber(every)
local now, now_us = clock()
if size > 0 then
  most = math.min(most, size) -- nobody is short of what there never is
end
local starts, later = most, '-'
if every > 0 then
  local free_at = tonumber(call('HGET', LIMITS, name .. ' next') or 0)
  starts = now >= free_at and math.min(1, most) or 0
  later = starts > 0 and whole(every) or whole(free_at - now)
end

local slots, subjects, soonest = {}, {}, nil
for from = 1, starts > 0 and size or 0, 100 do
  local names = {}
  for n = from, math.min(from + 99, size) do
    names[#names + 1] = '\1~' .. name .. '#' .. whole(n)
  end
  local records, deadlines = call('HMGET', LEASES, unpack(names)), call('ZMSCORE', DEADLINES, unpack(names))
  for i, subject in ipairs(names) do
    if records[i] then -- reaping ends those of the dead, like all leases
      local deadline = moment(deadlines[i]) or now
      soonest = math.max(now, math.min(soonest or deadline, deadline))
    elseif #slots < starts then
      slots[#slots + 1], subjects[#subjects + 1] = whole(from + i - 1), subject
    end
  end
end
local short = starts == 0
if size > 0 and starts > #slots then
  starts, short = #slots, true
  later = soonest and whole(soonest - now) or later
end
despite_full_memory()
local reply = { 'ok', later, whole(starts), every > 0 and whole(now + every) or '-', '0' }
local waiting = call('HGET', LIMITS, name .. ' short') or ''
if short then
  put_set(LIMITS, name .. ' short', with_line(waiting, holder)) -- who is told when one comes back
end
if #slots > 0 then
  reply[5] = grant(subjects, 'slot', holder, now + ttl, now_us)
  for i, n in ipairs(slots) do
    reply[5 + i] = n
  end
end
if starts > 0 then
  if every > 0 then
    call('HSET', LIMITS, name .. ' next', whole(now + every))
  end
  remember(words(reply))
end
return reply
