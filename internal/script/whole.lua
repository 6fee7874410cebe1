-- whole: what every script begins with that is on the whole namespace, and on no partition of it. It names its keys
-- by itself: who may run it should need no rights to others.
--
-- KEYS[1]     of those of its keys that are hashes, one
-- ARGV[1]     now     ms, or '' for the server's clock
-- ARGV[2..5]          of partitions only

local call = redis.call
local FIRST = 6 -- index of the verb's own first argument

-- despite_full_memory: see partition.lua.
local function despite_full_memory()
  call('HDEL', KEYS[1], '')
end
