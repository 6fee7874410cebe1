-- deadletter: set head jobs aside with a reason, and let their lanes go on.
--
-- KEYS[13+]  tail:<subject> of each job
-- ARGV[6]    kinds the caller claims next itself, each between spaces
-- ARGV[7+]   five a job: subject, entry, token, reason, error
--
-- Returns    {'ok' | 'halted' | 'cancelled' | 'lost', ...}, a word per job | {'stale'}

local before = answered()
if before then
  return before
end

local now = clock()
local reply, subjects, entries, tails, which, records = current(5)
local letters, halted, gone, over, over_tails = {}, {}, {}, {}, {}
for k, i in ipairs(which) do
  local entry = entries[k]
  local letter = { entry, counts_of(entry) + 1, arg(i, 5, 3), arg(i, 5, 4) }
  local cancelled = marked(records[k], 'c')
  if flag(entry, 'h') and not cancelled then
    reply[i] = 'halted'
    halted[subjects[k]] = letter
  else
    over[#over + 1], over_tails[#over_tails + 1] = subjects[k], tails[k]
    if cancelled then
      reply[i] = 'cancelled'
      gone[#gone + 1] = entry
    else
      letters[#letters + 1] = letter
    end
  end
end
if #subjects > 0 then
  free(subjects, records)
  bury(letters, now)
  drop(gone, now)
  advance(over, over_tails)
  for subject, letter in pairs(halted) do
    halt(subject, letter, now)
  end
  publish('RPUSH', ARGV[FIRST])
  remember(words(reply))
end
return reply
