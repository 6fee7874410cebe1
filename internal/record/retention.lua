-- retention: how long a kind keeps its dead letters, and how many: "<ms> <most>", beside the versions of kinds. Scripts
-- only store it.

local function retention_field(kind)
  return kind .. ' retention'
end
