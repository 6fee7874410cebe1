-- lot: the jobs that one call gives out.

-- alone takes out of a lot what was to be taken along with, or behind, a job that failed before, and what is suspended. A job
-- that has failed goes alone: if it kills its worker again, that costs no other job an attempt, while a crash in a batch costs
-- one of each job that was claimed and not reported (I6). With `headless` the heads are given already, and all in the lot is behind them.
local function alone(owners, entries, ids, notes, headless)
  local n, stops = 0, false
  for i = 1, #ids do
    local same, tried = owners[i] == owners[i - 1], attempts_of(notes[i]) > 0
    local is_head = not (same or headless)
    if is_head then
      stops = tried
    else
      stops = same and stops or tried or is_suspended(notes[i])
    end
    if is_head or not stops then
      n = n + 1
      owners[n], entries[n], ids[n], notes[n] = owners[i], entries[i], ids[i], notes[i]
    end
  end
  for i = #ids, n + 1, -1 do
    owners[i], entries[i], ids[i], notes[i] = nil, nil, nil, nil
  end
end

-- Most jobs that one call gives out: it bounds the script's time. The heads of all lanes count first, so taking
-- jobs along never leaves a lane without its head.
local MOST = 250

-- behind lists up to n entries of a lane, from one behind its head on, that may run under the same lease as the head:
-- those of its kind. Of a kind that rolls, only jobs are taken that may be tried once more, and whose ends need no
-- call of their own: a crash charges all that are in a hand (I6), and must not be the last attempt of one that has
-- not run.
local function behind(subject, kind, from, n, rolls)
  local entries = n > 0 and call('LRANGE', TAIL .. subject, from, from + n - 1) or {}
  for i, entry in ipairs(entries) do
    if #entry < 3 or kind_of(entry) ~= kind or rolls and (max_of(entry) < 2 or flag(entry, 'k') or flag(entry, 'h')) then
      for k = #entries, i, -1 do
        entries[k] = nil
      end
      break
    end
  end
  return entries
end

-- lot lists the jobs to be given out with the lanes of `subjects`: their heads, and
-- what may be taken along; and what is noted of them, or false when that is nothing.
-- most[i] is how many jobs of a lane are taken at most; without it, it is one of each. again says that all of them were
-- given before; else rolls has the kinds that roll, or is nil.
local function lot(subjects, heads, most, rolls, again)
  local owners, entries, ids, n = subjects, heads, {}, 0
  if most then
    owners, entries = {}, {}
  end
  for i = 1, #heads do
    local subject, entry = subjects[i], heads[i]
    n = n + 1
    owners[n], entries[n], ids[n] = subject, entry, id_of(entry)
    if most and most[i] > 1 then
      local kind = kind_of(entry)
      local room = again and most[i] or math.min(most[i], MOST - n - (#subjects - i) + 1)
      for _, follower in ipairs(behind(subject, kind, 0, room - 1, rolls and rolls[kind])) do
        n = n + 1
        owners[n], entries[n], ids[n] = subject, follower, id_of(follower)
      end
    end
  end
  local notes = any_notes() and notes_of(ids)
  if notes and most and not again then
    alone(owners, entries, ids, notes)
  end
  return owners, entries, ids, notes
end

-- fits returns how many of these jobs, from the first one on, one call gives out (I16), but one in any case.
-- Where jobs are small (light) it looks at none of them.
local function fits(ids)
  local bytes = 0
  for i = 1, light(#ids) and 0 or #ids do
    bytes = bytes + call('HSTRLEN', JOBS, ids[i])
    if bytes > MOST_BYTES and i > 1 then
      return i - 1
    end
  end
  return #ids
end

-- give adds the jobs of lanes to the reply. It returns the lanes that had one; a set of those that did not,
-- whose index is corrupt and which get no lease; how many jobs were taken along in those that had more than
-- one; and a set of the lanes that have to wait for another call, because their jobs have too many bytes for
-- this one.
--
-- A lane whose head fits and whose followers do not is given with fewer. Attempts are said in one word for all
-- jobs, and only where any has some behind it: this is the hot path.
local function give(reply, subjects, heads, most, rolls, again)
  if #subjects == 0 then
    return subjects, {}, {}, {}
  end
  local owners, entries, ids, notes = lot(subjects, heads, most, rolls, again)
  local last_one, late = again and #ids or fits(ids), {}
  for i = #ids, last_one + 1, -1 do
    if owners[i] ~= owners[last_one] then
      late[owners[i]] = true
    end
    ids[i] = nil
  end
  local bodies = call('HMGET', JOBS, unpack(ids))
  local given, broken, took, n, k, last = {}, {}, {}, #reply, 0, nil
  local attempts, tried = notes and {}, false -- that have ended, of each job
  for i = 1, last_one do
    local subject, body = owners[i], bodies[i]
    if not body then
      broken[subject] = true
    elseif not broken[subject] then
      reply[n + 1], reply[n + 2], reply[n + 3] = subject, entries[i], body
      n = n + 3
      if notes then
        attempts[#attempts + 1] = whole(attempts_of(notes[i]))
        tried = tried or attempts[#attempts] ~= '0'
      end
      if subject ~= last then
        k = k + 1
        given[k], last = subject, subject
      else
        took[subject] = (took[subject] or 0) + 1
      end
    end
  end
  if tried then
    reply[4] = words(attempts)
  end
  return given, broken, took, late
end
