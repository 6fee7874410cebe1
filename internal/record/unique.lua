-- unique: what is known of a job that has a unique key: "<jobs merged into it> <rules> <field>". The rules are
-- those of its entry, the field is where the key stands.

local function name_as(merged, rules, field)
  return merged .. ' ' .. rules .. ' ' .. field
end

-- name_of returns the jobs merged, as text, the rules and the field; nil of no record.
local function name_of(record)
  return string.match(record or '', '^(%d+) (%S+) (.*)$')
end

-- owner_as says in a reply which job has a key: its sequence number, how many were merged into it, its id.
local function owner_as(seq, merged, id)
  local hex = string.gsub(id, '.', function(c) return string.format('%02x', byte(c)) end)
  return whole(seq) .. ',' .. merged .. ',' .. hex
end
