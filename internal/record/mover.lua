-- mover: the run of a command that moves a whole namespace and may write there: "<number> <run>", "<number> -" once it has come to its
-- end.

local function mover_number(mover)
  return tonumber(string.match(mover or '', '^%d+') or '0')
end

-- may_follow reports whether a run may take the place of the one that a hash says: it is that one, or its end, or a later one.
local function may_follow(run, said)
  local is, was = mover_number(run), mover_number(said)
  return is > was or run == said or is == was and run == whole(is) .. ' -'
end
