-- declaration: what is declared of a kind: "<version> <owner> <JSON>".

local function declaration_as(version, owner, json)
  return version .. ' ' .. owner .. ' ' .. json
end

-- declaration_of returns the version, as text, the owner and the JSON; nil of what is none.
local function declaration_of(record)
  return string.match(record or '', '^(%d+) (%S+) (.*)$')
end

-- declared_version is the version alone, also of one that can't be read further.
local function declared_version(record)
  return tonumber(string.match(record, '^%d+') or 0)
end
