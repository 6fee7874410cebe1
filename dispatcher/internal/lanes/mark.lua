-- mark: say what is done with a whole namespace, as long as its schema says what the caller knows.
--
-- KEYS[1]   meta  hash  of the namespace
-- ARGV[6]   what its schema must say; when it says ARGV[7] already, that was done before
-- ARGV[7]   what it is to say
-- ARGV[8+]  two a field that changes with it: name, and value or '' to take it away
--
-- Returns   {'ok'} | {'other', what it says}

local META, to = KEYS[1], ARGV[FIRST + 1]
local said = call('HGET', META, 'schema') or ''
if said ~= ARGV[FIRST] then
  if said == to then
    return { 'ok' }
  end
  return { 'other', said }
end
despite_full_memory()
call('HSET', META, 'schema', to)
for at = FIRST + 2, #ARGV, 2 do
  if ARGV[at + 1] == '' then
    call('HDEL', META, ARGV[at])
  else
    call('HSET', META, ARGV[at], ARGV[at + 1])
  end
end
return { 'ok' }
