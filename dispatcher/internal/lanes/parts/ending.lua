-- ending: how attempts end. All ends of attempts are decided here, but for a turn's plain finishes.

-- fate_of decides what becomes of a job whose attempt has ended, and writes nothing. The verdict is 'done',
-- 'failed', 'fatal', 'back' (given up unused) or 'lost'. is_head says that the lease is about this job before
-- all others; cancelled, that its holder was asked to end it; in_front, that no job before it stays in the
-- lane; worn_out, that it has failed on as many workers as it may. It returns a fate, how many attempts have
-- ended then, and the code of the reason:
--   'gone' | 'cancelled' | 'again' | 'aside' | 'dead' | 'halted'
-- A job that is done is gone, whatever else was asked. One that is given back costs no attempt (I6), unless it was
-- to be cancelled.
local function fate_of(entry, attempts, verdict, is_head, cancelled, in_front, worn_out)
  if verdict == 'done' then
    return 'gone', attempts + 1, '-'
  elseif cancelled then
    return 'cancelled', attempts + 1, '-'
  elseif verdict == 'back' then
    return 'again', attempts, '-'
  end
  local code = verdict == 'fatal' and 'fatal' or worn_out and 'workers'
    or attempts + 1 >= max_of(entry) and (verdict == 'lost' and 'lost' or 'exhausted')
  if code then -- one that halts its lane is its head
    return flag(entry, 'h') and in_front and 'halted' or 'dead', attempts + 1, code
  end
  -- One that was claimed along with a head that was lost may not have started: it keeps its place.
  local aside = flag(entry, 's') and (is_head or verdict ~= 'lost')
  return aside and 'aside' or 'again', attempts + 1, '-'
end

-- ends gathers what becomes of jobs, lane by lane, and writes nothing: so all lanes of a call are looked at
-- before the first write, and most writes are one command for all of them. By field: subjects and asks, leases
-- that end; gone, kept, letters, aside, notes, jobs by their fate; tails and heads, lanes in which some go and
-- some stay; over, lanes whose jobs all went; interrupted, halted, delayed, back and front, where lanes go
-- next; wake, kinds that have something to wait for.
local function ends()
  return {
    subjects = {}, asks = {}, gone = {}, kept = {}, letters = {}, aside = {}, notes = {}, tails = {}, heads = {},
    over = {}, over_tails = {}, interrupted = {}, halted = {}, delayed = {}, back = {}, front = {}, wake = {},
  }
end

-- end_lane ends the lease of a lane, of whose holder `asks` are asked, and the attempts that were made under
-- it, of its head first: each {entry, verdict, wait ms, keep ms, text, reason, note}, the text being a result
-- or an error. Those that stay keep their order, in front of what was behind them (I5). It returns fate and
-- code of each.
--
-- The first that stays decides on the lane: it waits as long as that one has to, goes to the back of its list
-- after a failure, because it had its turn, and else to the front. A cancellation is for the head alone.
local function end_lane(e, subject, record, asks, tail, jobs, most_workers, now)
  local said, stay, first = {}, {}, nil
  e.subjects[#e.subjects + 1], e.asks[subject] = subject, asks
  for i, job in ipairs(jobs) do
    local entry, verdict, text = job[1], job[2], job[5]
    local id, attempts, suspended, workers = id_of(entry), note_of(job[7])
    if verdict == 'failed' and most_workers > 0 then
      workers = with_line(workers, holder_of(record))
    end
    local worn_out = verdict == 'failed' and most_workers > 0 and lines_of(workers) >= most_workers
    local cancelled = i == 1 and cancel_asked(asks)
    local fate, ended_attempts, code = fate_of(entry, attempts, verdict, i == 1, cancelled, #stay == 0, worn_out)
    local reason = job[6] or reason_for(code)
    said[2 * i - 1], said[2 * i] = fate, code
    if fate == 'gone' or fate == 'cancelled' then
      e.gone[#e.gone + 1] = entry
      if job[4] > 0 then
        local outcome = fate == 'gone' and 'finished' or 'cancelled'
        e.kept[#e.kept + 1] = { subject, id, outcome, ended_attempts, fate == 'gone' and text or '', job[4] }
      end
    elseif fate == 'dead' then
      e.letters[#e.letters + 1] = { entry, ended_attempts, reason, text }
    else
      if verdict ~= 'back' then
        e.notes[#e.notes + 1], e.notes[#e.notes + 2] = id, note_as(ended_attempts, suspended, workers, text)
      end
      if fate == 'aside' then
        e.aside[#e.aside + 1] = { subject, entry, now + job[3] }
        if job[3] > 0 then
          e.wake[kind_of(entry)] = true
        end
      else
        stay[#stay + 1] = entry
        if #stay == 1 then
          first = job
        end
        if fate == 'halted' then
          e.halted[#e.halted + 1] = { subject, reason, flag(entry, 'k') and id }
        end
      end
    end
  end
  if #stay == 0 then
    e.over[#e.over + 1], e.over_tails[#e.over_tails + 1] = subject, tail
  elseif #stay < #jobs then
    e.heads[#e.heads + 1], e.heads[#e.heads + 2] = subject, stay[1]
  end
  if #stay < #jobs and #jobs > 1 then
    e.tails[#e.tails + 1] = { tail, #jobs - 1, stay }
  end
  if #stay == 0 or e.halted[#e.halted] and e.halted[#e.halted][1] == subject then
    return said
  elseif first[3] > 0 and first[2] ~= 'back' then
    e.delayed[#e.delayed + 1] = { now + first[3], subject }
    e.wake[kind_of(stay[1])] = true
  else
    local list = first[2] == 'failed' and e.back or e.front -- who was interrupted is first in line
    list[#list + 1], list[#list + 2] = subject, stay[1]
  end
  return said
end

-- settle makes it so. own is as for list_ready. Interrupted are lanes with leases that were about no
-- job. A job that was claimed is not suspended, so of those that stay it need not be asked. The first write
-- ends the leases, which a full memory lets through, and with it all that follow (I10).
local function settle(e, now, own)
  local parks = free(e.subjects, e.asks)
  drop(e.gone)
  bury(e.letters, now)
  for _, k in ipairs(e.kept) do
    keep(k[1], k[2], k[3], k[4], k[5], k[6], now)
  end
  set_aside(e.aside)
  many('HSET', NOTES, e.notes)
  for _, t in ipairs(e.tails) do
    call('LTRIM', t[1], t[2], -1)
    for i = #t[3], 2, -1 do
      call('LPUSH', t[1], t[3][i])
    end
  end
  many('HSET', HEADS, e.heads)
  for _, h in ipairs(e.halted) do -- its head stays, with no attempts left, until an operator decides
    add_reason(parks, h[1], 'halted', since(now, h[2]))
    if h[3] then
      tell(h[3], 'halted')
    end
  end
  for _, d in ipairs(e.delayed) do
    add_reason(parks, d[2], 'backoff', whole(d[1]))
  end
  list_ready(unparked(e.front, parks), 'LPUSH', own)
  list_awake(e.interrupted, parks, 'LPUSH', own)
  list_ready(unparked(e.back, parks), 'RPUSH', own)
  go_on(advance(e.over, e.over_tails), parks, 'RPUSH', own)
end
