-- retry: end attempts that failed. The job stays head and its lane waits, or the
-- job becomes a dead letter when that was its last attempt.
--
-- KEYS[13+]  tail:<subject> of each job
-- ARGV[6]    kinds the caller claims next itself, each between spaces
-- ARGV[7+]   five a job: subject, id, token, wait in ms, error
--
-- Returns    {'ok' | 'dead' | 'lost', ...}, a word per job | {'stale'}

local before, stale = recall()
if stale then
  return { stale }
elseif before then
  return unwords(before)
end

local now = clock()
local reply, jobs = current(5)
local out, heads, errors, delayed, again = {}, {}, {}, {}, {}
for _, job in ipairs(jobs) do
  if job.attempts + 1 >= job.max then
    reply[job.i] = 'dead'
    out[#out + 1] = job
  else
    local wait, entry = tonumber(ARGV[job.at + 3]), attempted(job)
    heads[#heads + 1], heads[#heads + 2] = job.subject, entry
    errors[#errors + 1], errors[#errors + 2] = job.id, ARGV[job.at + 4]
    if wait > 0 then
      delayed[#delayed + 1], delayed[#delayed + 2] = now + wait, job.subject
    else
      again[#again + 1] = job
    end
  end
end
if #jobs > 0 then
  free(column(jobs, 'subject'))
  bury(out, now, function(job) return 'attempts exhausted', ARGV[job.at + 4] end)
  advance(out)
  many('HSET', HEADS, heads)
  many('HSET', ERRORS, errors)
  many('ZADD', DELAYED, delayed)
  for _, job in ipairs(again) do
    list(job.entry, job.subject)
  end
  publish('RPUSH', ARGV[FIRST])
  remember(words(reply))
end
return reply
