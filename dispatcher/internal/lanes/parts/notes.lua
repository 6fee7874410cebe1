-- notes: writing what has come of jobs so far.

-- write_note writes a note, or takes it away when it would say nothing: as long as there are no notes in a
-- partition, nobody asks for any (any_notes).
local function write_note(id, attempts, suspended, workers, failure)
  if attempts == 0 and not suspended and workers == '' and failure == '' then
    call('HDEL', NOTES, id)
  else
    call('HSET', NOTES, id, note_as(attempts, suspended, workers, failure))
  end
end

-- forget_notes takes the notes of jobs away that are gone or begin anew, as a dead letter does.
local function forget_notes(ids)
  if any_notes() then
    many('HDEL', NOTES, ids)
  end
end

-- ids_of returns the ids of entries.
local function ids_of(entries)
  local ids = {}
  for i, entry in ipairs(entries) do
    ids[i] = id_of(entry)
  end
  return ids
end
