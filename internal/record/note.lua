-- note: what has come of a job so far, of those of which there is anything to say: "<ended attempts> <waits|suspended>
-- <bytes of workers>\n<workers><error>": the workers that it has failed on, a line each, where they count; and what
-- its last attempt failed with.

local function note_as(attempts, suspended, workers, failure)
  return whole(attempts) .. ' ' .. (suspended and 'suspended' or 'waits') .. ' ' .. #workers .. '\n' .. workers .. failure
end

-- attempts_of and is_suspended read a part of a note; a job without one has no attempts behind it.
local function attempts_of(note)
  return note and tonumber(string.match(note, '^%d+') or 0) or 0
end

local function is_suspended(note)
  return note and find(note, '^%d+ suspended ') ~= nil
end

-- is_note reports whether a note can be read.
local function is_note(note)
  local length, at = string.match(note, '^%d+ %a+ (%d+)\n()')
  return length ~= nil and #note >= at - 1 + tonumber(length)
end

-- note_of reads all of it: ended attempts, whether the job is suspended, workers, error.
local function note_of(note)
  local attempts, state, length, at = string.match(note or '', '^(%d+) (%a+) (%d+)\n()')
  if not attempts then
    return 0, false, '', ''
  end
  local after = at + tonumber(length)
  return tonumber(attempts), state == 'suspended', sub(note, at, after - 1), sub(note, after)
end
