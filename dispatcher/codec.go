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

	"github.com/lanekeeper/lanekeeper/subject"
)

// A stored job is, in this order:
//
//	 6 bytes  sequence number, big endian        written by enqueue, reap, replay
//	 6 bytes  time of the enqueue, Unix ms       written by enqueue
//	strings   canonical subject, kind            each after its length as uvarint
//	uvarints  max attempts, timeout in ms, number of headers
//	strings   header keys and values
//	the rest  payload
//
// Scripts read and write only the first twelve bytes, and compare the subject.
const stampBytes = 12

// encode returns the part of a stored job that does not depend on Redis.
func encode(j NewJob) []byte {
	b := make([]byte, 0, 32+len(j.Subject.Kind)+len(j.Subject.ID)+len(j.Kind)+len(j.Payload))
	b = appendString(b, j.Subject.Canonical())
	b = appendString(b, j.Kind)
	b = binary.AppendUvarint(b, uint64(j.MaxAttempts))
	b = binary.AppendUvarint(b, uint64(j.Timeout.Milliseconds()))
	b = binary.AppendUvarint(b, uint64(len(j.Headers)))
	for _, k := range slices.Sorted(maps.Keys(j.Headers)) {
		b = appendString(appendString(b, k), j.Headers[k])
	}
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
		return Job{}, fmt.Errorf("%w: %s has %d bytes", errCorrupt, id, len(stored))
	}
	r := reader{rest: stored[stampBytes:]}
	job := Job{ID: id, Seq: number6(stored), EnqueuedAt: time.UnixMilli(number6(stored[6:]))}
	canonical := r.string()
	job.Kind = r.string()
	job.MaxAttempts = int(r.uvarint())
	job.Timeout = time.Duration(r.uvarint()) * time.Millisecond
	if n := r.uvarint(); n > 0 && !r.bad {
		job.Headers = make(map[string]string)
		for ; n > 0 && !r.bad; n-- {
			k := r.string()
			job.Headers[k] = r.string()
		}
	}
	if r.bad {
		return Job{}, fmt.Errorf("%w: %s ends early", errCorrupt, id)
	}
	job.Payload = []byte(r.rest)
	job.Subject, err = subject.FromCanonical(canonical)
	if err != nil {
		return Job{}, fmt.Errorf("%w: %s: %w", errCorrupt, id, err)
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

func (r *reader) string() string {
	n := r.uvarint()
	if r.bad || n > uint64(len(r.rest)) {
		r.bad = true
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func number6(s string) int64 {
	var n int64
	for i := range 6 {
		n = n<<8 | int64(s[i])
	}
	return n
}

// packID returns how an id stands in Redis: "u" and 16 bytes for a UUID in its
// usual form, which most are, and "i" and the id itself for any other. The first
// byte keeps the two apart.
func packID(id string) string {
	if u, err := uuid.Parse(id); err == nil && u.String() == id {
		return "u" + string(u[:])
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

// entry is what stands in a lane for a job: id and kind, each after one byte that
// holds its length, then "<ended attempts> <max attempts>".
type entry struct {
	id, kind      string // the id packed
	attempts, max int
}

func parseEntry(s string) (e entry, ok bool) {
	for _, part := range []*string{&e.id, &e.kind} {
		if s == "" || len(s) < 1+int(s[0]) {
			return entry{}, false
		}
		*part, s = s[1:1+s[0]], s[1+s[0]:]
	}
	attempts, limit, found := strings.Cut(s, " ")
	var err, err2 error
	e.attempts, err = strconv.Atoi(attempts)
	e.max, err2 = strconv.Atoi(limit)
	return e, found && err == nil && err2 == nil && e.id != "" && e.kind != ""
}

// entryOf is the entry of a job that was never attempted.
func entryOf(job Job) string {
	id := packID(job.ID)
	return string([]byte{byte(len(id))}) + id + string([]byte{byte(len(job.Kind))}) + job.Kind +
		"0 " + strconv.Itoa(job.MaxAttempts)
}
