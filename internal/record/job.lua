-- job: what scripts read and write of a stored job: five bytes of a number, six of the time of its enqueue,
-- ms, and its subject after the length of that as a uvarint. All else is the encoder's (job.go).
--
-- The number is the job's place in its lane; or, with the first bit set, its turn among enqueues, as long as
-- it was never placed. All come from the clock's 'seq', so they can be compared.

local STAMPED, UNPLACED = 11, 549755813888 -- bytes before the subject; 2^39

-- big_endian makes a whole number of n bytes, and number reads the bytes from..to of a string as one.
local function big_endian(value, n)
  local s = ''
  for _ = 1, n do
    s = string.char(value % 256) .. s
    value = math.floor(value / 256)
  end
  return s
end

local function number(s, from, to)
  local value = 0
  for i = from, to do
    value = value * 256 + byte(s, i)
  end
  return value
end

-- numbered is a number in five bytes; all but the last two change seldom, and are made once.
local high, high_at = '', -1

local function numbered(n)
  local low = n % 65536
  if n - low ~= high_at then
    high_at, high = n - low, big_endian((n - low) / 65536, 3)
  end
  return high .. string.char((low - low % 256) / 256, low % 256)
end

-- ordered is a number by which jobs that fall due together are placed.
local function ordered(seq)
  return numbered(seq % UNPLACED)
end

local function order_of(body)
  return string.char(byte(body) % 128) .. sub(body, 2, 5)
end

local function seq_of(body)
  local seq = number(body, 1, 5)
  return seq < UNPLACED and seq or 0
end

-- with_seq is a text behind the number of a job, which waits for its place or has it.
local function with_seq(seq, waits, text)
  return numbered(seq % UNPLACED + (waits and UNPLACED or 0)) .. text
end

-- renumbered is the same job with another number, and rewritten with the same number and time and another
-- encoded rest.
local function renumbered(body, seq, waits)
  return with_seq(seq, waits, sub(body, 6))
end

local function rewritten(body, encoded)
  return sub(body, 1, STAMPED) .. encoded
end

-- is_of reports whether a stored job is of a subject.
local function is_of(body, subject)
  local length = string.char(#subject)
  if #subject > 127 then
    length = string.char(#subject % 128 + 128, math.floor(#subject / 128))
  end
  return sub(body, STAMPED + 1, STAMPED + #length + #subject) == length .. subject
end

-- front_of is what a stored job begins with, up to its kind, and no more of what is no job. No subject and kind
-- have more than MOST_FRONT bytes with it.
local MOST_FRONT = 640

local function front_of(body)
  local at = STAMPED + 1
  local length = byte(body, at) or 0
  if length > 127 then
    at = at + 1
    length = length - 128 + 128 * (byte(body, at) or 0)
  end
  at = at + 1 + length -- of the length of the kind
  return sub(body, 1, math.min(at + (byte(body, at) or 0) % 128, MOST_FRONT))
end
