-- retry: end attempts that failed. The job stays head and its lane waits, or the
-- job becomes a dead letter when that was its last attempt; unless its kind has it set
-- aside at once, or has its lane halted at the end.
--
-- KEYS[13+]  tail:<subject> of each job
-- ARGV[6]    kinds the caller claims next itself, each between spaces
-- ARGV[7+]   six a job: subject, entry, token, wait in ms, error, on how many different workers
--            it may fail (0: any number)
--
-- Returns    {'ok' | 'dead' | 'halted' | 'cancelled' | 'lost', ...}, a word per job |
--            {'stale'}

local before = answered()
if before then
  return before
end

local now = clock()
local reply, subjects, entries, tails, which, records = current(6)
local fate, aside = fates(), {}
local heads, errors, delayed, again, wake, failed = {}, {}, {}, {}, {}, {}

for k, i in ipairs(which) do
  local subject, entry = subjects[k], entries[k]
  local id, attempts, max = id_of(entry), counts_of(entry)
  local refunded = marked(records[k], 'r') and 1 or 0
  local worn_out = worn(id, holder_of(records[k]), tonumber(arg(i, 6, 5)), failed)
  local wait, failure = tonumber(arg(i, 6, 3)), arg(i, 6, 4)
  if marked(records[k], 'c') then
    reply[i] = fate.cancelled(subject, entry, tails[k])
  elseif attempts + 1 - refunded >= max or worn_out then
    local reason = worn_out and 'failed on different workers' or 'attempts exhausted'
    reply[i] = fate.failed(subject, { entry, attempts + 1, reason, failure }, tails[k])
  else
    local next_entry = with_attempts(entry, attempts + 1 - refunded)
    errors[#errors + 1] = id
    errors[#errors + 1] = failure
    if flag(entry, 's') then
      aside[#aside + 1] = { subject, next_entry, now + wait }
      fate.leaves(subject, tails[k])
    else
      heads[#heads + 1] = subject
      heads[#heads + 1] = next_entry
      if wait > 0 and not marked(records[k], 's') then
        delayed[#delayed + 1] = now + wait
        delayed[#delayed + 1] = subject
      elseif wait == 0 then
        again[#again + 1] = k
      end
    end
    if wait > 0 and ARGV[FIRST] == '' then
      wake[kind_of(entry)] = true -- the caller will not come back for it by itself
    end
  end
end
if #subjects > 0 then
  free(subjects, records)
  many('HSET', extra('failed'), failed)
  fate.settle(now)
  advance(fate.over, fate.tails)
  set_aside(aside)
  many('HSET', HEADS, heads)
  many('HSET', ERRORS, errors)
  many('ZADD', DELAYED, delayed)
  for kind in pairs(wake) do
    call('ZADD', WAKE .. kind, 0, 'due')
  end
  for _, k in ipairs(again) do
    hand_over(entries[k], subjects[k])
  end
  list_ready('RPUSH', ARGV[FIRST])
  remember(words(reply))
end
return reply
