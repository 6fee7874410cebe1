-- bring: put jobs of an export where they stood. Nobody else works on the namespace meanwhile. A job that is there
-- already stays as it is: so this may be repeated.
--
-- KEYS[13+]  tail:<subject> of each job
-- ARGV[6]    the run that brings them (internal/record/mover.lua): another one may have taken over, or the namespace be open
-- ARGV[7]    kinds of the jobs, with spaces between, but for those that can't be read
-- ARGV[8+]   eight a job: subject, entry, stored job, 'lane' | 'scheduled' | 'dead',
--            when, ms, or '' in a lane; its note, or of a dead letter its reason;
--            what is known of its unique key, or ''; 'has' when it has that key, or ''
--
-- Returns    {'ok'} | {'taken'}: this run may bring nothing any more

-- was_due reports whether a job was taken along twice: on the schedule, and then in its lane, because it fell due in
-- between. Its place is in the lane.
local function was_due(subject, entry, place)
  return place == 'lane'
    and call('ZREM', SCHEDULED, scheduled_as(subject, order_in_store(id_of(entry)), entry)) == 1
end

-- known writes what is known of a job beside its body and its place.
local function known(id, place, said, name, has)
  if said ~= '' then
    call('HSET', place == 'dead' and REASONS or NOTES, id, said)
  end
  if name ~= '' then
    call('HSET', extra('names'), id, name)
  end
  if has == 'has' then
    local _, _, field = name_of(name)
    call('HSET', extra('unique'), field, id)
  end
end

if call('HGET', CLOCK, 'mover') ~= ARGV[FIRST] then
  return { 'taken' }
end
local bodies, opened = {}, {}
call('HSET', HEADS, FILLER, '') -- a full memory refuses it, and nothing is done then (I10)
many('SADD', KINDS, unwords(ARGV[FIRST + 1]))
for at = FIRST + 2, #ARGV, 8 do
  local subject, entry, body, place, when, said = unpack(ARGV, at, at + 5)
  local id, tail = id_of(entry), KEYS[13 + (at - FIRST - 2) / 8]
  if call('HEXISTS', JOBS, id) == 0 or was_due(subject, entry, place) then
    call('HSET', JOBS, id, body)
    bodies[#bodies + 1] = body
    known(id, place, said, ARGV[at + 6], ARGV[at + 7])
    if place == 'dead' then
      call('ZADD', DEAD, when, id)
    elseif place == 'scheduled' then
      call('ZADD', SCHEDULED, when, scheduled_as(subject, order_of(body), entry))
    elseif call('HSETNX', HEADS, subject, entry) == 0 then
      call('RPUSH', tail, entry)
    else
      local reasons = reasons_of(subject)
      if is_suspended(said) then
        park({ [subject] = with_value(reasons, 'job', '-') })
      elseif reasons == '' then
        opened[#opened + 1], opened[#opened + 2] = subject, entry
      end
    end
  end
end
grown({ stored = 1 }, bodies, 1)
list_ready(opened, 'RPUSH', '')
return { 'ok' }
