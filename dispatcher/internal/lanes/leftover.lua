-- leftover: look whether an entry of an index stands for nothing, and drop it if so.
--
-- ARGV[6]  'unique' | 'names' | 'outcomes' | 'notes': the index
-- ARGV[7]  'look' | 'drop'
-- ARGV[8]  field of the unique key
-- ARGV[9]  id
--
-- Returns  {'no'}: it stands for something, or is gone | {'gone'}: it does not, or was dropped

local index, drops, field, id = ARGV[FIRST], ARGV[FIRST + 1] == 'drop', ARGV[FIRST + 2], ARGV[FIRST + 3]
local member = index == 'unique' and field or id
local value = call('HGET', extra(index), member)
local job = call('HEXISTS', JOBS, id) == 1
local named = field_of(id)
local stands
if index == 'unique' then
  stands = value ~= id or job and named == field or call('ZSCORE', extra('windows'), field)
elseif index == 'names' then
  stands = job and named and (call('HEXISTS', extra('unique'), named) == 1 or call('ZSCORE', DEAD, id))
elseif index == 'outcomes' then
  stands = call('ZSCORE', extra('expiring'), outcome_as_expiring(id)) and call('ZSCORE', extra('ended'), id)
else
  -- a dead letter begins anew, and so does a job of which nobody can say how often it was tried
  stands = job and not call('ZSCORE', DEAD, id) and is_note(value or '')
end
if not value or stands then
  return { 'no' }
end
if drops then
  call('HDEL', extra(index), member)
  if index == 'outcomes' then
    call('ZREM', extra('expiring'), outcome_as_expiring(id))
    call('ZREM', extra('ended'), id)
  end
end
return { 'gone' }
