-- mend: make the indexes of one lane agree with its jobs, which are the truth (I4).
--
-- KEYS[13]  tail:<subject>
-- ARGV[6]   subject
-- ARGV[7]   ms that a lease without a deadline gets: time for its holder to renew it
-- ARGV[8]   number of kinds that ready lists may exist for
-- ARGV[9+]  those kinds; then entries that may have no place in this lane, each after
--           'look', which drops it when its job has no body or is another subject's, or
--           'drop', for a body that can't be read; that one is looked at no further
--
-- Returns   {'ok', what was done...}
--
-- It looks at everything again, so it does no harm to a lane that has moved meanwhile,
-- nor when it is repeated.

local subject, grace, kinds = ARGV[FIRST], tonumber(ARGV[FIRST + 1]), tonumber(ARGV[FIRST + 2])
local now, done = clock(), { 'ok' }
despite_full_memory()

local function did(what)
  done[#done + 1] = what
end

local head, record = mended_head(subject, KEYS[13], clean(subject, KEYS[13], FIRST + 3 + kinds, did), did)
record = mended_lease(subject, record, grace, now, did)
local asks, to_stop
record, asks, to_stop = mended_asks(subject, record, now, did)

-- One state: leased, else parked, else ready.
local why = mended_park(subject, head, record, asks, to_stop, now, did)
relist(subject, head, head and not record and why == '' and not is_ticket(head), FIRST + 3, kinds, did)
return done
