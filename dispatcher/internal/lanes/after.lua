-- after: read a part of a sorted set, from behind a member that may be gone by now. Members of one score stand in the order of their
-- bytes, which is compared here as Redis does it: Lua's own order of texts depends on the server's locale.
--
-- KEYS[1]   zset
-- ARGV[6]   score of the member, or '' to begin
-- ARGV[7]   the member
-- ARGV[8]   how many
--
-- Returns   {'ok', member, score, ...}

local function is_behind(one, other)
  for i = 1, math.min(#one, #other) do
    local a, b = string.byte(one, i), string.byte(other, i)
    if a ~= b then
      return a > b
    end
  end
  return #one > #other
end

local score, member, most = ARGV[FIRST], ARGV[FIRST + 1], tonumber(ARGV[FIRST + 2])
local from, past = 0, 0
if score ~= '' then
  from, past = call('ZCOUNT', KEYS[1], '-inf', '(' .. score), call('ZCOUNT', KEYS[1], '-inf', score)
end
while from < past do -- the first of the same score that is behind it
  local middle = math.floor((from + past) / 2)
  if is_behind(call('ZRANGE', KEYS[1], middle, middle)[1], member) then
    past = middle
  else
    from = middle + 1
  end
end
local reply = call('ZRANGE', KEYS[1], from, from + most - 1, 'WITHSCORES')
table.insert(reply, 1, 'ok')
return reply
