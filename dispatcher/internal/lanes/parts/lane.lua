-- lane: moving the heads of lanes.

-- place writes new heads of lanes, as pairs, and drops lanes that have none left (I4).
local function place(heads, gone)
  many('HSET', HEADS, heads)
  many('HDEL', HEADS, gone)
end

-- advance drops the heads of lanes and puts the next jobs in their place. It returns the lanes that have one,
-- as pairs; the others are gone (I4). The caller has ended the lease, or has it (I3), and lists or parks what
-- is returned.
local function advance(subjects, tails)
  local heads, gone = {}, {}
  for i, subject in ipairs(subjects) do
    local entry = call('LPOP', tails[i])
    if entry then
      heads[#heads + 1] = subject
      heads[#heads + 1] = entry
    else
      gone[#gone + 1] = subject
    end
  end
  place(heads, gone)
  return heads
end

-- pop makes the next entry of a lane its head and returns it, or false when the lane is gone.
local function pop(subject, tail)
  local head = call('LPOP', tail)
  place(head and { subject, head } or {}, head and {} or { subject })
  return head
end

-- unlist takes a ready lane out of the list that it stands in. It searches through that list, which may be
-- long: only verbs that reach into a lane out of its turn need it.
local function unlist(subject, head)
  call('LREM', READY .. kind_of(head), 1, subject)
end

-- nearer says from which end of a long tail a job with an order is found sooner, as LREM counts: orders rise along
-- a tail, but for what was put back at its front. A short tail, and what has no order, is searched from the front.
local function nearer(tail, order)
  local n = order and call('LLEN', tail) or 0
  if n < 1000 then
    return 1
  end
  local middle = order_in_store(id_of(call('LINDEX', tail, (n - n % 2) / 2)))
  return number(middle, 1, 5) < number(order, 1, 5) and -1 or 1
end

-- withdraw takes an entry that nobody holds out of its lane, wherever it stands there. The lane goes on, unless
-- somebody has it or it is kept back by more than that entry (of_next). Behind the head it is found by a search
-- through the tail, from the nearer end when its order is known.
local function withdraw(subject, entry, now, push, own, order)
  local tail = TAIL .. subject
  if call('HGET', HEADS, subject) ~= entry then
    call('LREM', tail, nearer(tail, order), entry)
    return
  end
  local leased, reasons = call('HEXISTS', LEASES, subject) == 1, reasons_of(subject)
  if not leased and reasons == '' then
    unlist(subject, entry)
  end
  local lanes, stays = advance({ subject }, { tail }), of_next(reasons)
  if stays ~= '' then
    go_on(lanes, { [subject] = stays }, push, own)
  elseif not leased and (reasons == '' or repark(subject, '', now)) then
    go_on(lanes, {}, push, own)
  end
end

-- MOST_BYTES is how much of stored jobs one call reads, or one job if that has more (I16): to read a MiB
-- takes Redis more than a ms, and nobody else is served meanwhile.
local MOST_BYTES = 2097152

-- light reports whether up to 256 jobs have no more than that together, without a look at each: the
-- partition has had no job of more than SMALL bytes, or 'largest' says how many the largest had.
local SMALL = 8192

local function light(n)
  local largest = n > 1 and tonumber(look().largest or SMALL) or 0
  return largest * n <= MOST_BYTES
end
