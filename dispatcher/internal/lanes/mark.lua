-- mark: say what is done with a whole namespace, and by which run, as long as its meta says what the caller knows.
--
-- KEYS[1]    meta  hash  of the namespace
-- ARGV[6]    what its schema must say
-- ARGV[7]    what it is to say
-- ARGV[8]    which run must move it, as it stands there (internal/record/mover.lua), or '' for none yet
-- ARGV[9]    which is to
-- ARGV[10+]  two a field that changes with that: name, and value or '' to take it away
--
-- Returns    {'ok'}, also when it says all that already | {'other', what its schema says} | {'taken', the same}: by another run

local META, from, to, was, run = KEYS[1], ARGV[FIRST], ARGV[FIRST + 1], ARGV[FIRST + 2], ARGV[FIRST + 3]
local said, mover = call('HGET', META, 'schema') or '', call('HGET', META, 'mover') or ''
if said ~= from or mover ~= was then
  if said == to and mover == run then
    return { 'ok' }
  end
  return { said == from and 'taken' or 'other', said }
end
despite_full_memory()
call('HSET', META, 'schema', to)
for at = FIRST + 4, #ARGV, 2 do
  if ARGV[at + 1] == '' then
    call('HDEL', META, ARGV[at])
  else
    call('HSET', META, ARGV[at], ARGV[at + 1])
  end
end
if run ~= '' then
  call('HSET', META, 'mover', run)
end
return { 'ok' }
