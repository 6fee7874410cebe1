-- recount: correct how many bytes of outcomes are kept, unless that has changed meanwhile.
--
-- ARGV[6]  what it said when they were counted, or ''
-- ARGV[7]  bytes that were counted
--
-- Returns  {'ok'} | {'moved'}

if (call('HGET', CLOCK, 'kept') or '') ~= ARGV[FIRST] then
  return { 'moved' }
end
despite_full_memory()
call('HSET', CLOCK, 'kept', ARGV[FIRST + 1])
return { 'ok' }
