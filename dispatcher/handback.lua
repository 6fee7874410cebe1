-- handback: end leases without ending the attempts. The job stays head, the
-- attempt is refunded, and the lane is first in line: it was interrupted.
--
-- KEYS[13+]  tail:<subject> of each job
-- ARGV[6]   kinds the caller claims next itself, each between spaces
-- ARGV[7+]  three a job: subject, entry, token
--
-- Returns   {'ok' | 'lost', ...}, a word per job | {'stale'}

local before = answered()
if before then
  return before
end

local reply, subjects, entries = current(3)
if #subjects > 0 then
  free(subjects)
  for k, subject in ipairs(subjects) do
    list(entries[k], subject)
  end
  publish('LPUSH', ARGV[FIRST])
  remember(words(reply))
end
return reply
