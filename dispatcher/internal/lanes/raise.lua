-- raise: bring one number of the clock up to what was given out, and never down.
--
-- ARGV[6]  which
-- ARGV[7]  the least that it may be, decimal text
--
-- Returns  {'ok'}

if tonumber(call('HGET', CLOCK, ARGV[FIRST]) or 0) < tonumber(ARGV[FIRST + 1]) then
  despite_full_memory()
  call('HSET', CLOCK, ARGV[FIRST], ARGV[FIRST + 1])
end
return { 'ok' }
