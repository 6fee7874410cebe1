-- fenced: write for a run that moves the whole namespace, all or nothing, as long as no other has taken over. It is sent commands, and
-- not a verb: moves write what no verb does, forms of other releases among it.
--
-- KEYS[1]   hash  that says which run may write: the clock of a partition, or the meta
-- KEYS[2+]  what is written
-- ARGV[6]   the run
-- ARGV[7+]  commands, each: how many words follow its key; its name; which of KEYS; these words. Who sends them knows that none
--           fails, and that it does no harm to repeat them.
--
-- Returns   {'ok'} | {'taken'}: this run may write no more | {'gone'}: nor can it, because there is no such hash any more

if call('HGET', KEYS[1], 'mover') ~= ARGV[FIRST] then
  return { call('EXISTS', KEYS[1]) == 1 and 'taken' or 'gone' }
end
local at = FIRST + 1
while at <= #ARGV do
  local last = at + 2 + tonumber(ARGV[at])
  call(ARGV[at + 1], KEYS[tonumber(ARGV[at + 2])], unpack(ARGV, at + 3, last))
  at = last + 1
end
return { 'ok' }
