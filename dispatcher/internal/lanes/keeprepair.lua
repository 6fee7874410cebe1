-- keeprepair: keep the repair of the namespace for a while longer, or give it up, with a line of what it did; another one's is left alone.
--
-- KEYS[1]  repairing  string  who repairs the namespace
-- KEYS[2]  audit      stream  what operators did
-- ARGV[6]  holder
-- ARGV[7]  ms to keep it, or '' to give it up
-- ARGV[8]  who acts (internal/record/act.lua)
-- ARGV[9]  how many things were mended
--
-- Returns  {'ok'} | {'lost'}

local REPAIRING = KEYS[1]
if call('GET', REPAIRING) ~= ARGV[FIRST] then
  return { 'lost' }
end
if ARGV[FIRST + 1] == '' then
  call('DEL', REPAIRING)
  if ARGV[FIRST + 3] ~= '0' then
    local actor = ARGV[FIRST + 2]
    log_act(KEYS[2], clock(), actor, act_as(actor, 'doctor --fix', {}, 'amiss', ARGV[FIRST + 3] .. ' mended'))
  end
else
  call('PEXPIRE', REPAIRING, ARGV[FIRST + 1])
end
return { 'ok' }
