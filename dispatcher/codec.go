package dispatcher

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// A stored job is, in this order:
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
const (
	seqBytes   = 5
	stampBytes = seqBytes + 6
	extras     = 0x80
)

// encode returns the part of a stored job that does not depend on Redis.
func encode(j *NewJob, canonical string) []byte {
	b := make([]byte, 0, 24+len(canonical)+len(j.Kind)+len(j.Payload))
	b = appendString(b, canonical)
	plain := j.MaxAttempts == defaultMaxAttempts && j.Timeout == 0 && len(j.Headers) == 0 && j.flags() == ""
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
	b = appendString(b, j.flags())
	return append(b, j.Payload...)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// errCorrupt is wrapped when a stored job can't be read.
var errCorrupt = errors.New("dispatcher: corrupt job")

// decode reads a stored job.
func decode(packedID, stored string) (Job, error) {
	id, err := unpackID(packedID)
	if err != nil {
		return Job{}, err
	}
	if len(stored) < stampBytes {
		return Job{}, fmt.Errorf("%w: %s has %d bytes", errCorrupt, subject.IDText(id), len(stored))
	}
	r := reader{rest: stored[stampBytes:]}
	job := Job{
		ID: id, MaxAttempts: defaultMaxAttempts,
		Seq: seqOf(stored), order: orderOf(stored), EnqueuedAt: time.UnixMilli(number(stored[seqBytes:stampBytes])),
	}
	canonical := r.string()
	kind := r.byte()
	job.Kind = r.take(uint64(kind &^ extras))
	if kind&extras != 0 {
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
		job.flags = r.string()
	}
	if r.bad {
		return Job{}, fmt.Errorf("%w: %s ends early", errCorrupt, subject.IDText(id))
	}
	job.Payload = []byte(r.rest)
	job.Subject, err = subject.FromCanonical(canonical)
	if err != nil {
		return Job{}, fmt.Errorf("%w: %s: %w", errCorrupt, subject.IDText(id), err)
	}
	return job, nil
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

// unplaced is added to the number of a job that was never placed in its lane: the number says
// its turn among enqueues then.
const unplaced = 1 << 39

// seqOf is a stored job's sequence number in its lane, 0 while it has none; and orderOf its
// number by which jobs that fall due together are placed.
func seqOf(stored string) int64 {
	if n := number(stored[:seqBytes]); n < unplaced {
		return n
	}
	return 0
}

func orderOf(stored string) int64 { return number(stored[:seqBytes]) &^ unplaced }

// number reads all of s as one big-endian number.
func number(s string) int64 {
	var n int64
	for i := range len(s) {
		n = n<<8 | int64(s[i])
	}
	return n
}

// packID returns how an id stands in Redis: "u" and 16 bytes for a UUID in its
// usual form, which most are, and "i" and the id itself for any other. The first
// byte keeps the two apart.
func packID(id string) string {
	if len(id) == 36 && strings.ToLower(id) == id {
		if u, err := uuid.Parse(id); err == nil {
			return "u" + string(u[:])
		}
	}
	return "i" + id
}

func unpackID(packed string) (string, error) {
	switch {
	case len(packed) == 17 && packed[0] == 'u':
		return uuid.UUID([]byte(packed[1:])).String(), nil
	case len(packed) > 1 && packed[0] == 'i':
		return packed[1:], nil
	}
	return "", fmt.Errorf("%w: %q is not a stored id", errCorrupt, packed)
}

// entry is what stands in a lane for a job: one byte each with the lengths of id and
// kind, the id, the kind, "<max attempts>", or "<ended attempts> <max attempts>"
// once there are any, and flags: see lease/fence.lua.
type entry struct {
	id, kind      string // the id packed
	attempts, max int
	flags         string
}

func (e entry) String() string {
	b := make([]byte, 0, 2+len(e.id)+len(e.kind)+8)
	b = append(b, byte(len(e.id)), byte(len(e.kind)))
	b = append(append(b, e.id...), e.kind...)
	if e.attempts > 0 {
		b = append(strconv.AppendInt(b, int64(e.attempts), 10), ' ')
	}
	return string(append(strconv.AppendInt(b, int64(e.max), 10), e.flags...))
}

// suspended reports whether the job was suspended by itself.
func (e entry) suspended() bool { return strings.HasSuffix(e.flags, "~") }

// untried is the entry of the same job before any attempt or suspension.
func (e entry) untried() entry {
	e.attempts, e.flags = 0, strings.TrimSuffix(e.flags, "~")
	return e
}

func parseEntry(s string) (e entry, ok bool) {
	if len(s) < 2 || len(s) < 2+int(s[0])+int(s[1]) {
		return entry{}, false
	}
	kindAt := 2 + int(s[0])
	countsAt := kindAt + int(s[1])
	e.id, e.kind = s[2:kindAt], s[kindAt:countsAt]
	counts := strings.TrimRight(s[countsAt:], allFlags)
	e.flags = s[countsAt+len(counts):]
	attempts, limit, tried := strings.Cut(counts, " ")
	if !tried {
		attempts, limit = "0", attempts
	}
	var err, err2 error
	e.attempts, err = strconv.Atoi(attempts)
	e.max, err2 = strconv.Atoi(limit)
	return e, err == nil && err2 == nil && e.id != "" && e.kind != ""
}

// ticketKind is the kind of entries that stand for somebody who waits to run a section.
const ticketKind = "~"

// The flags of entries.
const (
	flagSkip   = "s"
	flagHalt   = "h"
	flagUnique = "u"
	flagKeep   = "k"
	allFlags   = "shuk~"
)

// parseRecord reads a lease's record, "<token> <use> <holder>". The token of one that
// can't be read is 0.
// What is noted after the use is left out.
func parseRecord(record string) (token lease.Token, use, holder string) {
	text, rest, _ := strings.Cut(record, " ")
	use, holder, _ = strings.Cut(rest, " ")
	use, _, _ = strings.Cut(use, "!")
	token, err := lease.ParseToken(text)
	if err != nil {
		token = 0
	}
	return token, use, holder
}

// marksOf is what an operator asked of a lease's holder, and alongOf how many jobs a use
// stands for besides the head.
func marksOf(record string) string {
	_, rest, _ := strings.Cut(record, " ")
	use, _, _ := strings.Cut(rest, " ")
	_, marks, _ := strings.Cut(use, "!")
	return marks
}

func alongOf(use string) int {
	_, n, _ := strings.Cut(use, "+")
	along, _ := strconv.Atoi(n)
	return along
}

// entryOf is the entry of a job that was never attempted.
func entryOf(job *Job) string {
	return entry{id: packID(job.ID), kind: job.Kind, max: job.MaxAttempts, flags: job.flags}.String()
}
