-- ready: count the ready lanes of kinds.
--
-- ARGV[6+]  kinds
--
-- Returns   {'ok', lanes of each kind...}

local reply = { 'ok' }
for i = FIRST, #ARGV do
  reply[#reply + 1] = call('LLEN', READY .. ARGV[i])
end
return reply
