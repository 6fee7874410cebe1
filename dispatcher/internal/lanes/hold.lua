-- hold: keep the repair of the namespace for a while longer, or give it up; another one's is left alone.
--
-- KEYS[1]  repairing  string  who repairs the namespace
-- ARGV[6]  holder
-- ARGV[7]  ms to keep it, or '' to give it up
--
-- Returns  {'ok'} | {'lost'}

local REPAIRING = KEYS[1]
if call('GET', REPAIRING) ~= ARGV[FIRST] then
  return { 'lost' }
end
if ARGV[FIRST + 1] == '' then
  call('DEL', REPAIRING)
else
  call('PEXPIRE', REPAIRING, ARGV[FIRST + 1])
end
return { 'ok' }
