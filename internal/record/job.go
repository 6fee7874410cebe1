package record

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/lanekeeper/lanekeeper/subject"
)

// Job is what is stored of a job:
//
//	 5 bytes  sequence number, big endian        written by enqueue, take_due, replay;
//	          with the first bit set until it has a place in its lane
//	 6 bytes  time of the enqueue, Unix ms       written by enqueue
//	string    canonical subject, after its length as uvarint
//	 1 byte   length of the kind, plus 128 when there are extras
//	string    kind
//	[extras   max attempts, timeout in ms, number of headers as uvarints, header keys
//	          and values as strings, ms to keep the outcome as uvarint, flags as string;
//	          absent when all of them are the defaults]
//	the rest  payload
//
// Scripts read and write only the first eleven bytes, and compare the subject. It is
// as short as it can be made: with 100 bytes of payload and short names it fits into
// 128 bytes of Redis's memory, and one byte more would take 160.
type Job struct {
	Seq        int64 // place in the order of its lane, modulo 2³⁹; 0 while it has none
	Order      int64 // its number among those that fall due together
	EnqueuedAt time.Time
	Subject    subject.Key
	Kind       string

	MaxAttempts int
	Timeout     time.Duration
	Headers     map[string]string
	Keep        time.Duration
	Flags       string // of its entries

	Payload []byte
}

// DefaultMaxAttempts is what a job has that does not say otherwise.
const DefaultMaxAttempts = 25

const (
	seqBytes   = 5
	stampBytes = seqBytes + 6
	extras     = 0x80

	// unplaced is added to the number of a job that was never placed in its lane: the number says
	// its turn among enqueues then.
	unplaced = 1 << 39
)

// Encode returns the part of a stored job that does not depend on Redis.
func (j *Job) Encode(canonical string) []byte {
	b := make([]byte, 0, 24+len(canonical)+len(j.Kind)+len(j.Payload))
	b = appendString(b, canonical)
	plain := j.MaxAttempts == DefaultMaxAttempts && j.Timeout == 0 && len(j.Headers) == 0 && j.Flags == ""
	if plain {
		return append(append(append(b, byte(len(j.Kind))), j.Kind...), j.Payload...)
	}
	b = append(append(b, byte(len(j.Kind)|extras)), j.Kind...)
	b = binary.AppendUvarint(b, uint64(j.MaxAttempts))
	b = binary.AppendUvarint(b, uint64(j.Timeout.Milliseconds()))
	b = binary.AppendUvarint(b, uint64(len(j.Headers)))
	for _, k := range slices.Sorted(maps.Keys(j.Headers)) {
		b = appendString(appendString(b, k), j.Headers[k])
	}
	b = binary.AppendUvarint(b, uint64(j.Keep.Milliseconds()))
	b = appendString(b, j.Flags)
	return append(b, j.Payload...)
}

// Stored is all that is stored of the job: its number, which is Order, placed or not as Seq says; its time; and the rest.
func (j *Job) Stored(canonical string) []byte {
	number := uint64(j.Order)
	if j.Seq == 0 {
		number |= unplaced
	}
	var stamp [16]byte
	binary.BigEndian.PutUint64(stamp[:8], number)
	binary.BigEndian.PutUint64(stamp[8:], uint64(j.EnqueuedAt.UnixMilli()))
	return slices.Concat(stamp[8-seqBytes:8], stamp[16-(stampBytes-seqBytes):], j.Encode(canonical))
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Entry is what stands for the job in its lane, by its packed id.
func (j *Job) Entry(packed string) Entry {
	return Entry{ID: packed, Kind: j.Kind, Max: j.MaxAttempts, Flags: j.Flags}
}

// DecodeJob reads a stored job; id is packed. Errors wrap [ErrCorrupt].
func DecodeJob(packed, stored string) (id string, job Job, err error) {
	id, job, extra, r, err := decodeFront(packed, stored)
	if err != nil {
		return id, Job{}, err
	}
	if extra {
		job.MaxAttempts = int(r.uvarint())
		job.Timeout = time.Duration(r.uvarint()) * time.Millisecond
		if n := r.uvarint(); n > 0 && !r.bad {
			job.Headers = make(map[string]string)
			for ; n > 0 && !r.bad; n-- {
				k := r.string()
				job.Headers[k] = r.string()
			}
		}
		job.Keep = time.Duration(r.uvarint()) * time.Millisecond
		job.Flags = r.string()
	}
	if r.bad {
		return id, Job{}, endsEarly(id)
	}
	job.Payload = []byte(r.rest)
	return id, job, nil
}

// DecodeFront reads what a stored job begins with, up to its kind, of which scripts give no more: numbers, times,
// subject and kind. All else of the job is as if it had no extras. Errors wrap [ErrCorrupt].
func DecodeFront(packed, front string) (id string, job Job, err error) {
	id, job, _, _, err = decodeFront(packed, front)
	return id, job, err
}

// decodeFront also says whether extras follow in what is left.
func decodeFront(packed, stored string) (id string, job Job, extra bool, r reader, err error) {
	if id, err = UnpackID(packed); err != nil {
		return "", Job{}, false, r, err
	}
	if len(stored) < stampBytes {
		return id, Job{}, false, r, fmt.Errorf("%w: %s has %d bytes", ErrCorrupt, subject.IDText(id), len(stored))
	}
	r = reader{rest: stored[stampBytes:]}
	job = Job{Order: OrderOf(stored), EnqueuedAt: time.UnixMilli(number(stored[seqBytes:stampBytes])), MaxAttempts: DefaultMaxAttempts}
	if n := number(stored[:seqBytes]); n < unplaced {
		job.Seq = n
	}
	canonical := r.string()
	kind := r.byte()
	job.Kind = r.take(uint64(kind &^ extras))
	if r.bad {
		return id, Job{}, false, r, endsEarly(id)
	}
	if job.Subject, err = subject.FromCanonical(canonical); err != nil {
		return id, Job{}, false, r, fmt.Errorf("%w: %s: %w", ErrCorrupt, subject.IDText(id), err)
	}
	return id, job, kind&extras != 0, r, nil
}

func endsEarly(id string) error {
	return fmt.Errorf("%w: %s ends early", ErrCorrupt, subject.IDText(id))
}

// OrderOf is the number of a stored job among those that fall due together, 0 of one that has none.
func OrderOf(stored string) int64 {
	if len(stored) < seqBytes {
		return 0
	}
	return number(stored[:seqBytes]) &^ unplaced
}

// number reads all of s as one big-endian number.
func number(s string) int64 {
	var n int64
	for i := range len(s) {
		n = n<<8 | int64(s[i])
	}
	return n
}

// reader takes fields off a string; after one that is not there it is bad.
type reader struct {
	rest string
	bad  bool
}

func (r *reader) uvarint() uint64 {
	n, size := binary.Uvarint([]byte(r.rest[:min(len(r.rest), binary.MaxVarintLen64)]))
	if size <= 0 {
		r.bad = true
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *reader) string() string { return r.take(r.uvarint()) }

func (r *reader) byte() byte {
	b := r.take(1)
	if r.bad {
		return 0
	}
	return b[0]
}

func (r *reader) take(n uint64) string {
	if r.bad || n > uint64(len(r.rest)) {
		r.bad = true
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}
