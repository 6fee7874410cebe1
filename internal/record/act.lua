-- act: what an operator did, as fields of an entry of a log's stream; its id is when, "<ms>-<n>". And who acts, as a caller
-- says it to a script, a line each: "who <name>", "face <word>", "why <text>", "most <entries that its log keeps>".

-- act_as returns the fields: who acted, the verb as a command has it, what was before and what is after, each a few words; and
-- pairs that say on what: a subject and a job's id, or a kind.
local function act_as(actor, verb, on, before, after)
  local fields = { 'verb', verb, 'before', before, 'after', after }
  for i = 1, #on do
    fields[#fields + 1] = on[i]
  end
  for _, word in ipairs({ 'who', 'face', 'why' }) do
    fields[#fields + 1], fields[#fields + 2] = word, value_in(actor, word) or ''
  end
  return fields
end

-- after_entry returns an id for an entry of a log at a time: behind the last one, "<ms>-<n>" or nil, also when the clock was set back.
local function after_entry(last, now)
  local ms, n = string.match(last or '', '^(%d+)%-(%d+)$')
  if ms and tonumber(ms) >= now then
    return ms .. '-' .. whole(tonumber(n) + 1)
  end
  return whole(now) .. '-0'
end
