-- claiming: what a turn asks for, and which lanes it gets.

-- asked_for is what the caller asks for: how many lanes, of which kinds, and of each kind how many jobs of a
-- lane, how many while nobody waits (rolls), and no more than how many lanes (budget). along is false where all
-- kinds are claimed job by job, which spares a look at each lane's tail, and rolls where none is more than one;
-- takes has all kinds in any case. done_from is where in ARGV the finished jobs
-- begin. own is as for list_ready: lanes of these kinds wake nobody, because the caller takes them itself.
local function asked_for()
  local kinds = tonumber(ARGV[FIRST + 3])
  local along, rolls, budget, batches, own = {}, false, {}, false, ' '
  for at = FIRST + 4, FIRST + 3 + 2 * kinds, 2 do
    local kind, most = ARGV[at], tonumber(ARGV[at + 1])
    if not most then
      local first, ahead, cap = string.match(ARGV[at + 1], '^(%d+)%+?(%d*)/?(%d*)$')
      most, budget[kind] = tonumber(first), tonumber(cap)
      if ahead ~= '' then
        rolls = rolls or {}
        rolls[kind] = tonumber(ahead)
      end
    end
    along[kind], batches = most, batches or most > 1
    own = own .. kind .. ' '
  end
  local wanted, pool = tonumber(ARGV[FIRST + 2]), 'default'
  if not wanted then
    wanted, pool = string.match(ARGV[FIRST + 2], '^(-?%d+) (.*)$')
    wanted = tonumber(wanted)
  end
  return {
    wanted = wanted, pool = pool, kinds = kinds, along = batches and along, rolls = rolls, takes = along,
    budget = budget, own = own, held = {},
    done_from = FIRST + 4 + 2 * kinds,
  }
end

-- given_before answers a turn that is repeated (I9). A turn is remembered by what it said of finished jobs, and
-- by the token and deadline of its lanes, not by its whole reply, which holds payloads. The same request again
-- gets the same lanes, those that are still its own: they are found by their deadline and told by their token.
-- One that was renewed meanwhile is not found, and its holder has had the answer then.
local function given_before(t, before)
  local token, deadline, said = string.match(before, '^(%d+) (%d+) ?(.*)$')
  local reply, subjects, heads, most = { 'ok', 0, token, '' }, {}, {}, {}
  for word in string.gmatch(said, '%S+') do
    reply[#reply + 1] = word
  end
  local done = #reply - 4
  local from, part, more = 0, 1000, token ~= '0' -- any number may end in that ms
  while more do
    local at = call('ZRANGEBYSCORE', DEADLINES, deadline, deadline, 'LIMIT', from, part)
    local records, entries = many('HMGET', LEASES, at), many('HMGET', HEADS, at)
    for i, subject in ipairs(at) do
      if entries[i] and fenced(records[i], token) then
        local k = #subjects + 1
        subjects[k], heads[k], most[k] = subject, entries[i], along_of(records[i]) + 1
      end
    end
    from, more = from + part, #at == part
  end
  give(reply, subjects, heads, most, nil, true)
  return given_again(t, reply, done)
end

-- pop_ready takes lanes off the lists of ready ones. A lane there has a head and no lease (I4); an index that
-- says otherwise is corrupt and gives nothing out, so a subject never has two holders (I1). That the head is of
-- the list's kind (I11) is not looked at: whoever changes a head lists the lane anew.
--
-- It costs one command a kind, as long as more lanes are wanted, and two for all lanes together: how many lanes
-- are busy or wait does not matter. budget is what is left for each kind after it. What a hold on the kind or the caller
-- bars goes back where it was; a caller that knows of the hold does not ask for such a kind. A lane that is held by itself
-- is parked: so it is claimed in vain once, and no poll meets it again.
local function pop_ready(t)
  local lanes, heads, popped, n, m = {}, {}, {}, 0, 0
  local budget, wanted = t.budget, t.wanted
  for k = 1, t.kinds do
    local kind, most = ARGV[FIRST + 2 + 2 * k], wanted - n
    if budget[kind] then
      most = math.min(most, budget[kind])
      budget[kind] = budget[kind] - math.max(most, 0)
    end
    if most > 0 and not (t.holds and bars_kind(t, kind)) then
      local part = call('LPOP', READY .. kind, most) or {}
      if #part > 0 and bars_kind(t, kind) then
        put_back(kind, part)
        part = {}
      end
      if budget[kind] then
        budget[kind] = budget[kind] + most - #part
      end
      for i = 1, #part do
        popped[n + i] = part[i]
      end
      n = n + #part
    end
  end
  if n > 0 then
    local entries, records = call('HMGET', HEADS, unpack(popped)), call('HMGET', LEASES, unpack(popped))
    local taken, parks, holds = {}, {}, holds_on()
    for i = 1, n do
      local subject, entry = popped[i], entries[i]
      if entry and not records[i] and not taken[subject] then
        local hold = holds and bars_lane(holds, subject, kind_of(entry))
        taken[subject] = true
        if hold then
          bar(parks, subject, hold)
        else
          m = m + 1
          lanes[m], heads[m] = subject, entry
        end
      end
    end
    park(parks)
  end
  return { lanes = lanes, heads = heads, popped = n, handed = {}, freed = {}, next_up = {} }
end
