-- bringended: put outcomes of an export back, those that are there already excepted.
--
-- ARGV[6]   the run that brings them, as in bring
-- ARGV[7+]  four an outcome: id, its record, when the job ended, ms, until when it is kept, ms
--
-- Returns   {'ok'} | {'taken'}: this run may bring nothing any more

if call('HGET', CLOCK, 'mover') ~= ARGV[FIRST] then
  return { 'taken' }
end
for at = FIRST + 1, #ARGV, 4 do
  local id, outcome = ARGV[at], ARGV[at + 1]
  if call('HSETNX', extra('outcomes'), id, outcome) == 1 then
    call('ZADD', extra('ended'), ARGV[at + 2], id)
    call('ZADD', extra('expiring'), ARGV[at + 3], outcome_as_expiring(id))
    call('HINCRBY', CLOCK, 'kept', outcome_bytes(id, #outcome))
  end
end
return { 'ok' }
