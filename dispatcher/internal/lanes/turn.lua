-- turn: finish jobs that are done, then take up to n ready lanes.
--
-- KEYS[13+]  tail:<subject> of each finished job
-- ARGV[6]    holder
-- ARGV[7]    ttl      ms
-- ARGV[8]    n        0 only passes a hint on to another worker; -1 not even that: the
--            caller will claim with its next call; with ' <pool>' behind it for a pool that is not the default one
-- ARGV[9]    k        number of kinds that the caller handles; 0 claims nothing
-- ARGV[10+]  two a kind, the one whose turn it is in front: kind, and how many waiting
--            jobs of one lane to take along under one lease (1: only the head); with '+k'
--            behind it when holders may have k jobs of a lane in hand while nobody waits, and
--            '/n' when no more than n lanes of the kind are to be given out
-- ARGV[..]   three a finished job: subject, entry, token; with '+n ' before the token
--            when the holder goes on with the lane under the same lease, and has n jobs in
--            hand behind its next head
--
-- Returns    {'ok' | 'held', ready, token, attempts, ('ok' | 'ok+n' | 'lost') for each finished job,
--             (subject, entry, encoded job) for each job taken, and then for the n jobs
--             that come into the hand of each who goes on}
--            held: a hold keeps the caller from a kind of which lanes are ready;
--            ready: how many lanes of these kinds are left, as far as was looked; with '+'
--            behind it when there are more, but no more of their kind were to be given out;
--            attempts: that have ended, of each job taken, with spaces between; '' when none has any;
--            jobs of one lane follow each other
--            {'stale'}

local t = asked_for()
local before, stale = recall()
if stale then
  return { stale }
elseif before then
  return given_before(t, before)
end

-- Finish: the jobs go, and the next ones in their lanes become heads. Then claim: ready lanes first, and those that have
-- just had a job finished.
local reply = { 'ok', 0, '0', '' }
local f = finish(t.done_from, reply)
local ends = #reply
local c = pop_ready(t)
hand_over(t, f, c)
local given, broken, took, late = give(reply, c.lanes, c.heads, deep(t, c), t.rolls)
let_others_go(t, f, c, broken, late)

reply[1] = t.holds and 'held' or 'ok'
reply[2] = left_over(t, t.wanted >= 0 and (c.popped + #c.handed >= t.wanted or next(late)), f.finished + c.popped == 0)
go_on_with(t, f, reply, reply[2] == 0 and not next(c.next_up), (#reply - ends) / 3)
local said = ends > 4 and table.concat(reply, ' ', 5, ends) or ''
if #given + f.finished > 0 then
  local deadline = '0'
  if #given > 0 then
    local now, now_us = clock()
    deadline = whole(now + tonumber(ARGV[FIRST + 1]))
    reply[3] = grant(given, 'job', ARGV[FIRST], deadline, now_us, took)
  end
  remember(reply[3] .. ' ' .. deadline .. ' ' .. said)
end
return reply
