-- cleaning: what a repair takes out of a lane. tail is its key; did(what) notes what was done.

-- belongs reports whether the job of an entry is stored, and is one of a subject. A ticket belongs as long as
-- its owner is heard of. It is one command, which reads the whole body.
local function belongs(subject, entry)
  if readable(entry) and is_ticket(entry) then
    return call('ZSCORE', extra('expiring'), ticket_as(subject, entry)) ~= false
  end
  local body = readable(entry) and call('HGET', JOBS, id_of(entry))
  return body and is_of(body, subject)
end

-- clean looks at the entries that stand in ARGV from `first` on, each after 'look' or 'drop'. An entry that has no place
-- in the lane goes; of a job that stands here twice the first entry stays (I7). It returns a set of those that
-- went; the head is not taken out here, but by mended_head. Each costs a search through the tail.
local function clean(subject, tail, first, did)
  local unwanted, seen, kept = {}, {}, {}
  for at = first, #ARGV - 1, 2 do
    local entry = ARGV[at + 1]
    if not seen[entry] then
      seen[entry] = true
      if ARGV[at] == 'drop' or not belongs(subject, entry) or kept[id_of(entry)] then
        unwanted[entry] = true
        if call('LREM', tail, 0, entry) > 0 then
          did('took out of the lane what is no job of it')
        end
      else
        local n = #call('LPOS', tail, entry, 'COUNT', 0)
        if call('HGET', HEADS, subject) == entry then
          n = n + 1
        end
        kept[id_of(entry)] = n > 0
        if n > 1 then
          call('LREM', tail, 1 - n, entry)
          did('took out of the lane what stood in it twice')
        end
      end
    end
  end
  return unwanted
end

-- mended_head makes the first job that can be read the head. It returns head and lease, each false when there
-- is none: a lease that was given for an attempt at what is no job ends. Entries that nobody can read are
-- dropped from the front on the way.
local function mended_head(subject, tail, unwanted, did)
  local head, record = call('HGET', HEADS, subject), call('HGET', LEASES, subject)
  if head and (unwanted[head] or not readable(head)) then
    if use_of(record) == 'job' then
      park(free({ subject }, asks_of({ subject }, { record })))
      record = false
    end
    call('HDEL', HEADS, subject)
    head = false
    did('took out a head that is no job of the lane')
  end
  if not head then
    head = call('LPOP', tail)
    while head and not readable(head) do
      head = call('LPOP', tail)
    end
    if head then
      call('HSET', HEADS, subject, head)
      did('made the next job the head')
    end
  end
  return head, record
end
