-- handback: end leases without ending the attempts. The job stays head, the
-- attempt is refunded, and the lane is first in line: it was interrupted. A job that an
-- operator has cancelled goes instead.
--
-- KEYS[13+]  tail:<subject> of each job
-- ARGV[6]   kinds the caller claims next itself, each between spaces
-- ARGV[7+]  four a job: subject, entry, token, ms to keep the outcome of a cancelled one
--
-- Returns   {'ok' | 'cancelled' | 'lost', ...}, a word per job | {'stale'}

local before = answered()
if before then
  return before
end

local reply, subjects, entries, tails, which, records = current(4)
local fate, kept, kept_ms = fates(), {}, {}
for k, i in ipairs(which) do
  if marked(records[k], 'c') then
    reply[i] = fate.cancelled(subjects[k], entries[k], tails[k])
    local ms = tonumber(arg(i, 4, 3))
    kept_ms[#fate.gone] = ms > 0 and ms or nil
  else
    kept[#kept + 1] = k
  end
end
if #subjects > 0 then
  free(subjects, records)
  for _, k in ipairs(kept) do
    local attempts = counts_of(entries[k])
    if marked(records[k], 'r') and attempts > 0 then
      call('HSET', HEADS, subjects[k], with_attempts(entries[k], attempts - 1))
    end
    hand_over(entries[k], subjects[k])
  end
  list_ready('LPUSH', ARGV[FIRST])
  drop(fate.gone)
  for n, ms in pairs(kept_ms) do
    keep(fate.gone_from[n], id_of(fate.gone[n]), 'cancelled', counts_of(fate.gone[n]) + 1, '', ms, (clock()))
  end
  advance(fate.over, fate.tails)
  list_ready('RPUSH', ARGV[FIRST])
  remember(words(reply))
end
return reply
