package dispatcher

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Any job comes back from its stored form as it was.
func FuzzStoredJob(f *testing.F) {
	f.Add("s", "a", "k", "id", []byte("payload"), 25, int64(0), "", "")
	f.Add("\x00", "{}*\r\n", "k", "0190a6c2-7c1e-7b3a-9d1e-2f3a4b5c6d7e", []byte{0xff, 0}, 1, int64(1500), "trace", "\xff")
	f.Add("s", "a", "k", "0190A6C2-7C1E-7B3A-9D1E-2F3A4B5C6D7E", []byte("9007199254740993"), 1<<31-1, int64(1), "k", "")
	f.Fuzz(func(t *testing.T, kind, id, jobKind, jobID string, payload []byte, attempts int, timeout int64, header, value string) {
		job := NewJob{
			Subject: subject.Key{Kind: kind, ID: id}, Kind: jobKind, ID: jobID, Payload: payload,
			MaxAttempts: attempts, Timeout: time.Duration(timeout) * time.Millisecond,
		}
		if header != "" {
			job.Headers = map[string]string{header: value}
		}
		if jobID == "" || job.validate(1<<20) != nil {
			return
		}
		stored := "\x00\x00\x00\x01\x02" + "\x00\x00\x00\x00\x03\x04" + string(encode(&job, job.Subject.Canonical()))
		back, err := decode(packID(jobID), stored)
		if err != nil {
			t.Fatalf("%+v does not come back: %v", job, err)
		}
		if back.ID != jobID || back.Subject != job.Subject || back.Kind != jobKind || !bytes.Equal(back.Payload, payload) ||
			back.MaxAttempts != attempts || back.Timeout != job.Timeout || len(back.Headers) != len(job.Headers) ||
			back.Headers[header] != job.Headers[header] || back.Seq != 258 || back.EnqueuedAt.UnixMilli() != 772 {
			t.Fatalf("%+v comes back as %+v", job, back)
		}
		e := entry{id: packID(jobID), kind: jobKind, attempts: attempts / 2, max: attempts}
		if again, ok := parseEntry(e.String()); !ok || again != e {
			t.Fatalf("entry %+v comes back as %+v", e, again)
		}
		canonical := job.Subject.Canonical()
		if s, order, entry, ok := parseScheduled(scheduledAs(canonical, 258, e.String())); !ok || s != canonical || order != 258 || entry != e.String() {
			t.Fatalf("on the schedule %q comes back as %q, %d, %q", canonical, s, order, entry)
		}
		if s, entry, ok := parseTicket(ticketAs(canonical, e.String())); !ok || s != canonical || entry != e.String() {
			t.Fatalf("the ticket of %q comes back as %q, %q", canonical, s, entry)
		}
	})
}

// Nothing that may stand in Redis makes reading it panic, or passes for what it is not.
func FuzzGarbage(f *testing.F) {
	for _, s := range []string{"", "x", "\xff\xffx", "\x02\x01iak3", "\x02\x01iak1 3", "5 abcde\x02\x01iak3", strings.Repeat("\xff", 40)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if job, err := decode("ia", s); err == nil && job.Subject.Validate() != nil {
			t.Fatalf("%q is read as a job of no subject", s)
		}
		if e, ok := parseEntry(s); ok && (e.id == "" || e.kind == "") {
			t.Fatalf("%q is read as the entry %+v", s, e)
		}
		if canonical, _, entry, ok := parseScheduled(s); ok && (canonical == "" || entry == "") {
			t.Fatalf("%q is read as a scheduled %q %q", s, canonical, entry)
		}
		if canonical, entry, ok := parseTicket(s); ok && (canonical == "" || entry == "") {
			t.Fatalf("%q is read as a ticket %q %q", s, canonical, entry)
		}
		_, _ = parseDeadCursor(s)
		_, _ = parseCursor(s, 4)
		_, _, _ = parseRecord(s)
	})
}

// A lease's record, with what was noted on it.
func TestLeaseRecords(t *testing.T) {
	t.Parallel()
	for record, want := range map[string]struct {
		token  lease.Token
		use    string
		holder string
		marks  string
		along  int
	}{
		"7 job w":              {7, "job", "w", "", 0},
		"7 job+12 w":           {7, "job+12", "w", "", 12},
		"7 job+2!cs w":         {7, "job+2", "w", "cs", 2},
		"7 job!r a holder":     {7, "job", "a holder", "r", 0},
		"7 section host:1:abc": {7, "section", "host:1:abc", "", 0},
		"7 suspended ":         {7, "suspended", "", "", 0},
		"mine":                 {0, "", "", "", 0},
		"x job w":              {0, "job", "w", "", 0},
	} {
		token, use, holder := parseRecord(record)
		if token != want.token || use != want.use || holder != want.holder || marksOf(record) != want.marks || alongOf(use) != want.along {
			t.Errorf("%q: token %s, use %q, holder %q, marks %q, %d along", record, token, use, holder, marksOf(record), alongOf(use))
		}
	}
}
