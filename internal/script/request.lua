-- request: the memory of each caller's last request, in a partition.

-- How long a reply is remembered: longer than go-redis goes on repeating a
-- request (three retries of five seconds each), so no repeat runs twice.
local REMEMBER_MS = '60000'

-- recall returns what this request was answered before, when go-redis repeats it
-- because the reply was lost (I9); false for a new request; and 'stale' as second
-- result for one that a later request of the same caller has overtaken.
local function recall()
  local last = ARGV[2] ~= '' and call('GET', REQUEST)
  if not last then
    return false
  end
  local nth, reply = string.match(last, '^(%d+) (.*)$')
  if nth == ARGV[2] then
    return reply
  end
  return false, tonumber(nth) > tonumber(ARGV[2]) and 'stale'
end

local function remember(reply)
  if ARGV[2] ~= '' then
    call('SET', REQUEST, ARGV[2] .. ' ' .. reply, 'PX', REMEMBER_MS)
  end
end

-- words and unwords turn the flat replies of most verbs into one string and back.
local function words(reply)
  return table.concat(reply, ' ')
end

local function unwords(text)
  local reply = {}
  for word in string.gmatch(text, '%S+') do
    reply[#reply + 1] = word
  end
  return reply
end

-- answered returns the whole reply to a request that needs no running again: the one
-- it got before, or {'stale'}.
local function answered()
  local before, stale = recall()
  return stale and { stale } or before and unwords(before)
end

-- answered_text is answered for replies of a word and one text, which may have spaces.
local function answered_text()
  local before, stale = recall()
  if before then
    local word, text = string.match(before, '^(%S+) ?(.*)$')
    return text ~= '' and { word, text } or { word }
  end
  return stale and { stale }
end
