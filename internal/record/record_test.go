package record

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/subject"
)

// Any job comes back from its stored form as it was.
func FuzzStoredJob(f *testing.F) {
	f.Add("s", "a", "k", "id", []byte("payload"), 25, int64(0), "", "", int64(0), "")
	f.Add("\x00", "{}*\r\n", "k", "0190a6c2-7c1e-7b3a-9d1e-2f3a4b5c6d7e", []byte{0xff, 0}, 1, int64(1500), "trace", "\xff", int64(5), "uk")
	f.Add("s", "a", "k", "0190A6C2-7C1E-7B3A-9D1E-2F3A4B5C6D7E", []byte("9007199254740993"), 1<<31-1, int64(1), "k", "", int64(0), "s")
	f.Fuzz(func(t *testing.T, kind, id, jobKind, jobID string, payload []byte, attempts int, timeout int64, header, value string, keep int64, flags string) {
		key := subject.Key{Kind: kind, ID: id}
		if key.Validate() != nil || subject.CheckID(jobID) != nil || jobKind == "" || len(jobKind) > 64 || attempts < 1 || timeout < 0 || timeout > 1<<40 || keep < 0 || keep > 1<<40 {
			return
		}
		job := Job{
			Seq: 258, Order: 258, EnqueuedAt: time.UnixMilli(772), Subject: key, Kind: jobKind, MaxAttempts: attempts,
			Timeout: time.Duration(timeout) * time.Millisecond, Keep: time.Duration(keep) * time.Millisecond, Flags: flags, Payload: append([]byte{}, payload...),
		}
		if header != "" {
			job.Headers = map[string]string{header: value}
		}
		if job.Keep > 0 && flags == "" {
			job.Flags = FlagKeep // none is kept without
		}
		stored := "\x00\x00\x00\x01\x02" + "\x00\x00\x00\x00\x03\x04" + string(job.Encode(key.Canonical()))
		if again := string(job.Stored(key.Canonical())); again != stored {
			t.Fatalf("%q is stored as %q", stored, again)
		}
		packed := PackID(jobID)
		backID, back, err := DecodeJob(packed, stored)
		if err != nil {
			t.Fatalf("%+v does not come back: %v", job, err)
		}
		if backID != jobID || !reflect.DeepEqual(back, job) {
			t.Fatalf("%q %+v comes back as %q %+v", jobID, job, backID, back)
		}
		e := Entry{ID: packed, Kind: jobKind, Max: attempts}
		if again, ok := ParseEntry(e.String()); !ok || again != e {
			t.Fatalf("entry %+v comes back as %+v", e, again)
		}
		canonical := key.Canonical()
		if s, order, entry, ok := ParseScheduled(Scheduled(canonical, 258, e.String())); !ok || s != canonical || order != 258 || entry != e.String() {
			t.Fatalf("on the schedule %q comes back as %q, %d, %q", canonical, s, order, entry)
		}
		attempt := Attempt{
			Of: 3, Began: time.UnixMilli(1700000000000).UTC(), Took: job.Timeout, Attempt: attempts, Ending: "failed", Kind: jobKind, Subject: canonical, ID: packed,
			Holder: "h 1", Error: value,
		}
		if again, ok := ParseAttempt(TrailEntry(3, AppendAttempt(nil, &attempt, key, jobID))); !ok || again != attempt {
			t.Fatalf("attempt %+v comes back as %+v", attempt, again)
		}
		if s, entry, ok := ParseExpiringTicket(ExpiringTicket(canonical, e.String())); !ok || s != canonical || entry != e.String() {
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
		if _, job, err := DecodeJob("ia", s); err == nil && job.Subject.Validate() != nil {
			t.Fatalf("%q is read as a job of no subject", s)
		}
		if e, ok := ParseEntry(s); ok && (e.ID == "" || e.Kind == "") {
			t.Fatalf("%q is read as the entry %+v", s, e)
		}
		if canonical, _, entry, ok := ParseScheduled(s); ok && (canonical == "" || entry == "") {
			t.Fatalf("%q is read as a scheduled %q %q", s, canonical, entry)
		}
		if canonical, entry, ok := ParseExpiringTicket(s); ok && (canonical == "" || entry == "") {
			t.Fatalf("%q is read as a ticket %q %q", s, canonical, entry)
		}
		if o, err := ParseOutcome("a", s); err == nil && o.Subject.Validate() != nil {
			t.Fatalf("%q is read as the outcome of a job of no subject", s)
		}
		if a, ok := ParseAttempt(s); ok && (a.Subject == "" || a.ID == "" || a.Holder == "") {
			t.Fatalf("%q is read as the attempt %+v", s, a)
		}
		_ = ParseLease(s)
		_, _, _ = ParseReason(s)
		_, _ = ParsePark(s)
		_, _ = ParseAsks(s)
		_, _ = ParseLimit(s)
		_ = NameField(s)
		_, _, _, _ = ParseOwner(s)
		_, _ = ParseAct(s, map[string]any{"verb": s, "subject": s, "job": s})
	})
}

// A lease's record, with what was noted on it.
func TestLeaseRecords(t *testing.T) {
	t.Parallel()
	for record, want := range map[string]Lease{
		"7 job w":              {7, "job", 0, false, "w"},
		"7 job+12 w":           {7, "job", 12, false, "w"},
		"7 job+2! w":           {7, "job", 2, true, "w"},
		"7 job! a holder":      {7, "job", 0, true, "a holder"},
		"7 section host:1:abc": {7, "section", 0, false, "host:1:abc"},
		"7 job!s w":            {0, "job!s", 0, false, "w"},
		"mine":                 {},
		"x job w":              {0, "job", 0, false, "w"},
	} {
		if got := ParseLease(record); got != want {
			t.Errorf("%q is read as %+v", record, got)
		}
	}
}

// Each page has a sample, which stands byte for byte: the Lua side writes it and reads it as said here, and the
// Go side where it has one too.
func TestPages(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	key := subject.Key{Kind: "artifact", ID: "4\x002"}
	canonical, packed, long := key.Canonical(), PackID("j 1"), subject.Key{Kind: "artifact", ID: strings.Repeat("x", 300)}.Canonical()
	entry := Entry{ID: packed, Kind: "expire", Max: 25, Flags: "su"}
	job := Job{Subject: key, Kind: "expire", MaxAttempts: 25, Payload: []byte("p")}
	said := func(v ...any) string { return strings.Trim(fmt.Sprintln(v...), "\n") }
	digits := func(s string) (text string) { // as Lua's 'hex'
		for _, b := range []byte(s) {
			text += fmt.Sprintf("%02x", b)
		}
		return text
	}
	outcome, failed := ParseOutcome("", "finished 3 1700000000000 12 "+canonical+"\nok")
	limit, _ := ParseLimit("2 500 7")
	limitIs := said(limit.Most, limit.Every.Milliseconds(), limit.Version)
	attempts, reason, failure := ParseReason("3 attempts exhausted\nno\nroute")
	note := "2 suspended 6\na b\nc\n\n7 waits"
	noted, _ := ParseNote(note)
	park, readable := ParsePark("backoff 1700000000000\nsuspended 1700000000001 no route\nhalted 2 \njob -\n")
	someone, known := ParsePark("suspended 7 @a b\tno route\n")
	act, acted := ParseAct("1700000000000-2", map[string]any{"who": "a b", "face": "cli", "why": "no route", "verb": "lane skip", "subject": canonical, "job": packed, "before": "halted", "after": "ready", "new": "x"})
	leased := ParseLease("7 job+3! a b")
	asks, heard := ParseAsks("cancel 500\nsuspend 7 why not\n")
	storedID, stored, err := DecodeJob(packed, "\x80\x00\x00\x01\x02"+"\x00\x00\x00\x00\x03\x04"+string(job.Encode(canonical)))
	if failed != nil || err != nil || storedID != "j 1" {
		t.Fatalf("%v, %q %v", failed, storedID, err)
	}
	if !readable || park.Backoff.UnixMilli() != 1700000000000 || park.Suspended.Why != "no route" || park.Halted.At.UnixMilli() != 2 || !park.Job || !math.IsInf(park.LookAgain(), 1) {
		t.Errorf("park %+v, %t", park, readable)
	}
	if !heard || !asks.Cancel || asks.Suspend.Why != "why not" || asks.Suspend.At.UnixMilli() != 7 {
		t.Errorf("asks %+v", asks)
	}
	if !known || *someone.Suspended != (Stop{time.UnixMilli(7).UTC(), "a b", "no route"}) {
		t.Errorf("suspended by somebody is %+v", someone.Suspended)
	}
	if acted != nil || act != (Act{time.UnixMilli(1700000000000).UTC(), Actor{"a b", "cli", "no route"}, "lane skip", "halted", "ready", key, "j 1", "", ""}) {
		t.Errorf("act %+v, %v", act, acted)
	}
	for _, bad := range []map[string]any{{}, {"verb": 7}, {"verb": "x", "subject": "\x09s"}, {"verb": "x", "job": "x"}} {
		if a, err := ParseAct("7-0", bad); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%v is read as %+v, %v", bad, a, err)
		}
	}
	if p, ok := ParsePark("backoff 9\n"); !ok || p.LookAgain() != 9 || p.Stopped() {
		t.Errorf("a backoff is %+v, %t", p, ok)
	}
	if p, _ := ParsePark("halted 7 @a b\tno route\n"); p.Halted.By != "" || p.Halted.Why != "@a b\tno route" {
		t.Errorf("an error that looks like a name is %+v", p.Halted)
	}
	for _, text := range []string{"suspended 7 @a b\tno route\n", "suspended 7 @\t@x\ty\n", "halted 7 @a b\tno route\n", "suspended 7 a\tb\nhalted 8 @x\n"} {
		if p, ok := ParsePark(text); !ok || p.String() != text {
			t.Errorf("%q comes back as %q, %t", text, p.String(), ok)
		}
	}
	for _, text := range []string{"gone 9\n", "backoff 1 \n", "backoff 1.5\n", "backoff 9999999999999999\n", "backoff 1", "halted x y\n", "backoff -1\n"} {
		if p, ok := ParsePark(text); ok {
			t.Errorf("%q is read as %+v", text, p)
		}
	}
	for _, text := range []string{"", "x", "1", "1 x", "-1 0", "0 -1", "9223372036854775807 1", "1 2 3"} {
		if r, ok := ParseRetention(text); ok {
			t.Errorf("%q is read as %+v", text, r)
		}
	}
	for _, r := range []Retention{{Keep: time.Millisecond}, {Most: 1}, {Keep: maxRetention, Most: 1 << 30}} {
		if back, ok := ParseRetention(r.String()); !ok || back != r {
			t.Errorf("%+v comes back as %+v", r, back)
		}
	}
	for _, text := range []string{"", "x", "cancel\n", "suspend 7 w", "garbagesuspend 7 w\n"} {
		if a, ok := ParseAsks(text); ok {
			t.Errorf("%q is read as %+v", text, a)
		}
	}
	for name, page := range map[string]struct {
		lua  string // returns a text
		args []string
		want string
		is   string // the same by Go; "" where Go does not know it
	}{
		"subject":      {"return with_subject(ARGV[1], 'x')", []string{canonical}, "12 " + canonical + "x", WithSubject(canonical, "x")},
		"subject, cut": {"local s, x = without_subject(ARGV[1]) return x .. s", []string{"12 " + canonical + "x"}, "x" + canonical, ""},
		"lines":        {`return without_line(with_line(with_line('', 'a b'), 'c'), 'a b') .. lines_of('a\nb\n')`, nil, "c\n2", ""},
		"entry":        {"return entry_of(ARGV[1], 'expire', '25su')", []string{packed}, "\x04\x06ij 1expire25su", entry.String()},
		"entry, read": {
			"return id_of(ARGV[1]) .. ' ' .. kind_of(ARGV[1]) .. ' ' .. max_of(ARGV[1]) .. ' ' .. rules_of(ARGV[1])",
			[]string{entry.String()}, packed + " expire 25 25su", said(entry.ID, entry.Kind, entry.Max, entry.Rules()),
		},
		"note":       {`return note_as(2, true, 'a b\nc\n', '\n7 waits')`, nil, note, ""},
		"note, none": {"local a, s, w, e = note_of(false) return table.concat({ whole(a), tostring(s), w, e, whole(attempts_of(false)), tostring(is_suspended(false)) }, ' ')", nil, "0 false   0 false", ""},
		"note, read": {
			"local a, s, w, e = note_of(ARGV[1]) return table.concat({ whole(a), tostring(s), w, e, whole(attempts_of(ARGV[1])), tostring(is_suspended(ARGV[1])) }, ' ')",
			[]string{note}, "2 true a b\nc\n \n7 waits 2 true",
			said(noted.Attempts, noted.Suspended, strings.Join(noted.Workers, "\n")+"\n", noted.Error, noted.Attempts, noted.Suspended),
		},
		"note, unread": {
			`return table.concat({ tostring(is_note(ARGV[1])), tostring(is_note('1 waits 2\nw')), tostring(is_note('x')), tostring(is_note('1 waits 0\n')) }, ' ')`,
			[]string{note}, "true false false true", said(readableNote(note), readableNote("1 waits 2\nw"), readableNote("x"), readableNote("1 waits 0\n")),
		},
		"note, unsuspended": {"return note_as(0, false, '', '') .. tostring(is_suspended('12 waits 9\\n suspended'))", nil, "0 waits 0\nfalse", ""},
		"flags": {
			"local e, t = ARGV[1], ARGV[2] return table.concat({ tostring(flag(e, 's')), tostring(flag(e, 'h')), tostring(is_ticket(e)), tostring(is_ticket(t)), tostring(flagged(t)), tostring(readable(t)), tostring(readable('x') or false), tostring(readable('\\0\\1k3')), tostring(readable('\\1\\0i3')) }, ' ')",
			[]string{entry.String(), Ticket("ix").String()}, "true false false true false true false false false",
			said(entry.Skips(), strings.Contains(entry.Flags, FlagHalt), entry.IsTicket(), Ticket("ix").IsTicket(), false, true, false, false, false),
		},
		"job":            {`return with_seq(ARGV[1], true, '\0\0\0\0\3\4' .. ARGV[2])`, []string{"258", string(job.Encode(canonical))}, "\x80\x00\x00\x01\x02\x00\x00\x00\x00\x03\x04" + "\x0c" + canonical + "\x06expirep", ""},
		"job, placed":    {`return renumbered('\128\0\0\1\2rest', 65537)`, nil, "\x00\x00\x01\x00\x01rest", ""},
		"job, rewritten": {"return rewritten('12345678901old', 'new')", nil, "12345678901new", ""},
		"job, read": {
			`local b = ARGV[1] return seq_of(b) .. ' ' .. number(order_of(b), 1, 5) .. ' ' .. tostring(is_of(b, ARGV[2])) .. ' ' .. tostring(is_of(b, 'x')) .. ' ' .. tostring(is_of('12345678901\181\2' .. ARGV[3], ARGV[3]))`,
			[]string{"\x80\x00\x00\x01\x02\x00\x00\x00\x00\x03\x04\x0c" + canonical, canonical, long}, "0 258 true false true", said(stored.Seq, stored.Order, stored.Subject == key, false, true),
		},
		"schedule":       {"return scheduled_as(ARGV[1], ordered(258), ARGV[2])", []string{canonical, "e"}, "12 " + canonical + "\x00\x00\x00\x01\x02e", Scheduled(canonical, 258, "e")},
		"schedule, read": {"local s, e = scheduled_of(ARGV[1]) return s .. e", []string{Scheduled(canonical, 258, "e")}, canonical + "e", ""},
		"expiring":       {"return outcome_as_expiring('ij') .. ticket_as(ARGV[1], 'e')", []string{canonical}, "oijt12 " + canonical + "e", ExpiringOutcome("ij") + ExpiringTicket(canonical, "e")},
		"expiring, read": {"local o, s, e = expiring_of(ARGV[1]) return tostring(o) .. s .. e .. expiring_of('oij')", []string{ExpiringTicket(canonical, "e")}, "nil" + canonical + "eij", ""},
		"reason":         {`return reason_as(3, 'attempts exhausted', 'no\nroute')`, nil, "3 attempts exhausted\nno\nroute", said(attempts, reason) + "\n" + failure},
		"reason, read":   {"return reason_of(ARGV[1])", []string{"3 attempts exhausted\nno\nroute"}, "attempts exhausted", reason},
		"reason's codes": {
			"return table.concat({ reason_for('exhausted'), reason_for('workers'), reason_for('lost'), tostring(reason_for('fatal')) }, ', ')", nil,
			"attempts exhausted, failed on different workers, worker lost, nil",
			strings.Join([]string{ReasonFor("exhausted"), ReasonFor("workers"), ReasonFor("lost"), "nil" + ReasonFor("fatal")}, ", "),
		},
		"unique":         {"return name_as('2', '25u', ARGV[1])", []string{UniqueField(canonical, "expire", "a b", nil)}, "2 25u 12 " + canonical + "expire ka b", "2 25u " + NameField("2 25u "+UniqueField(canonical, "expire", "a b", nil))},
		"unique, read":   {"local m, r, f = name_of(ARGV[1]) return f .. r .. m .. tostring((name_of(false)))", []string{"2 25u f g"}, "f g25u2nil", ""},
		"owner":          {"return owner_as(258, '2', ARGV[1])", []string{packed}, "258,2," + digits(packed), ""},
		"outcome":        {`return outcome_as('finished', 3, 1700000000000, ARGV[1], '\nok')`, []string{canonical}, "finished 3 1700000000000 12 " + canonical + "\nok", said(outcome.State, outcome.Attempts, outcome.At.UnixMilli(), WithSubject(outcome.Subject.Canonical(), string(outcome.Result)))},
		"outcome, bytes": {"return whole(outcome_bytes('ij', 7))", nil, "209", said(OutcomeBytes("ij", "1234567"))},
		"lease":          {"return lease_as('7', 'job', 'a b') .. lease_as('7', 'job', 'a', 3)", nil, "7 job a b7 job+3 a", ""},
		"lease, asked": {
			"return as_asked(with_along(ARGV[1], 2), true) .. as_asked(ARGV[2], false) .. as_asked('7 job! a', true) .. tostring(asked(ARGV[2]))", []string{"7 job+3 a b", "7 job+3! a b"},
			"7 job+2! a b7 job+3 a b7 job! atrue", "",
		},
		"lease, read": {
			"local r = ARGV[1] return table.concat({ token_of(r), use_of(r), along_of(r), tostring(asked(r)), holder_of(r), tostring(is_lease(r)), tostring(is_lease('mine')), tostring(asked('7 job a! b')), tostring((use_of(false))) }, ' ')",
			[]string{"7 job+3! a b"}, "7 job 3 true a b true false false nil",
			said(leased.Token, leased.Use, leased.Along, leased.Asked, leased.Holder, true, false, ParseLease("7 job a! b").Asked, "nil"),
		},
		"asks": {
			"local a = with_value(with_value('', 'cancel', '500'), 'suspend', since(7, 'why not')) return a .. whole(cancel_asked(a)) .. suspend_asked(a) .. tostring(cancel_asked(false)) .. tostring(suspend_asked('cancel 500\\n'))",
			nil, "cancel 500\nsuspend 7 why not\n5007 why notfalsenil", "",
		},
		"values": {
			"local l = with_value(with_value('', 'a', '1'), 'b', '2 a 3') return with_value(l, 'a', '4') .. without_value(l, 'a') .. value_in(l, 'b') .. tostring(value_in(l, '2'))",
			nil, "b 2 a 3\na 4\nb 2 a 3\n2 a 3nil", "",
		},
		"park": {
			"local r = ARGV[1] return look_again(r) .. ' ' .. stopped_by(r) .. of_next(r) .. look_again('backoff 7\\n') .. tostring(look_again(''))",
			[]string{"backoff 1700000000000\njob -\nsuspended 1 x\n"}, "inf job -\nsuspended 1 x\nsuspended 1 x\n7nil", "",
		},
		"filler":            {"return FILLER", nil, Filler, Filler},
		"limit":             {"return limit_as('2', '500', '7')", nil, "2 500 7", limitIs},
		"limit, read":       {"local m, e = limit_of(ARGV[1]) return whole(m) .. ' ' .. whole(e) .. ' ' .. whole(limit_version(ARGV[1])) .. whole(limit_version(false)) .. tostring((limit_of(false)))", []string{"2 500 7"}, "2 500 70nil", limitIs + "0nil"},
		"declaration":       {"return declaration_as('3', 'web', '{}')", nil, "3 web {}", ""},
		"declaration, read": {"local v, o, j = declaration_of(ARGV[1]) return v .. o .. j .. whole(declared_version('4 x')) .. tostring((declaration_of('4 x')))", []string{"3 web {}"}, "3web{}4nil", ""},
		"retention":         {"return retention_field('a/b') .. '=' .. ARGV[1]", []string{Retention{Keep: time.Hour, Most: 7}.String()}, "a/b retention=3600000 7", RetentionField("a/b") + "=3600000 7"},
		"wait":              {"return wait_as(1700000000000, '7', ARGV[1])", []string{canonical}, "1700000000000 7 " + canonical, ""},
		"wait, read":        {"local t, k, s = wait_of(ARGV[1]) return whole(t) .. k .. s .. tostring((wait_of(false)))", []string{"1700000000000 7 " + canonical}, "17000000000007" + canonical + "nil", ""},
		"park, by somebody": {
			`return stopped_as(7, 'a b', 'no route') .. '|' .. stopped_as(7, '', 'no route') .. '|' .. stopped_as(7, '', '@x\ty')`,
			nil, "7 @a b\tno route|7 no route|7 @\t@x\ty", "",
		},
		"act": {
			"return table.concat(act_as(ARGV[1], 'lane skip', { 'subject', 's', 'job', 'ij' }, 'halted', 'ready'), ',')",
			[]string{Actor{"a\nb", "cli", ""}.Lines(7)}, "verb,lane skip,before,halted,after,ready,subject,s,job,ij,who,a b,face,cli,why,", "",
		},
		"act, who": {"return value_in(ARGV[1], 'most') .. ARGV[1]", []string{Actor{"a", "b", "c\x00\xff"}.Lines(7)}, "7who a\nface b\nwhy c \ufffd\nmost 7\n", ""},
		"act, when": {
			"return table.concat({ after_entry(nil, 1700000000000), after_entry('1699999999999-5', 1700000000000), after_entry('1700000000000-5', 1700000000000), after_entry('1700000000001-0', 1700000000000) }, ' ')",
			nil, "1700000000000-0 1700000000000-0 1700000000000-6 1700000000001-1", "",
		},
		"limit's next": {"return next_start('kind/k')", nil, "kind/k next", ""},
		"place":        {"local p = place_from(place_member('3', 'a b'), '2 1 1700000000000') return p.member .. p.partition .. p.holder .. place_as(p) .. tostring((place_from('x', false)))", nil, "3 a b3a b2 1 1700000000000nil", ""},
	} {
		got, err := redis.NewScript(Lua+"\n"+page.lua).Run(t.Context(), rdb, nil, args(page.args)...).Text()
		if err != nil || got != page.want {
			t.Errorf("%s: Lua says %q, %v; want %q", name, got, err, page.want)
		}
		if page.is != "" && page.is != page.want {
			t.Errorf("%s: Go says %q, want %q", name, page.is, page.want)
		}
	}
}

func args(texts []string) (all []any) {
	for _, text := range texts {
		all = append(all, text)
	}
	return all
}

func readableNote(text string) bool { _, ok := ParseNote(text); return ok }

// An entry is the same bytes whether its id was packed before or is while it is written, behind whatever stands there.
func TestEntryOfAnIDThatIsNotPacked(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"a", "", "018f4d3c-7b1e-7c3a-9f2e-0123456789ab", "018F4D3C-7B1E-7C3A-9F2E-0123456789AB", strings.Repeat("i", 128)} {
		e := Entry{Kind: "k/b", Max: 25, Flags: FlagSkip + FlagKeep}
		got := string(AppendEntry([]byte("before"), id, e))
		e.ID = PackID(id)
		if want := "before" + e.String(); got != want {
			t.Errorf("%q: %q, want %q", id, got, want)
		}
	}
}

// What Go writes is what it reads, byte for byte: an import puts back what an export has read.
func TestRecordsComeBack(t *testing.T) {
	t.Parallel()
	outcome := func(s string) string { o, _ := ParseOutcome("", s); return o.String() }
	park := func(s string) string { p, _ := ParsePark(s); return p.String() }
	note := func(s string) string { n, _ := ParseNote(s); return n.String() }
	reason := func(s string) string { return Reason(ParseReason(s)) }
	name := func(s string) string { merged, rules, field, _ := ParseName(s); return Name(merged, rules, field) }
	declared := func(s string) string { v, owner, json, _ := Declared(s); return Declaration(v, owner, json) }
	field := func(s string) string {
		c, kind, key, digest, _ := ParseUniqueField(s)
		return UniqueField(c, kind, key, digest)
	}
	for i, c := range []struct {
		back func(string) string
		is   string
	}{
		{outcome, "finished 3 1700000000000 3 \x01sa\nok \x00"}, {outcome, "cancelled 0 1000000 3 \x01sa"},
		{park, "backoff 1700000000000\nsuspended 1700000000001 no route\nhalted 2 \njob -\n"}, {park, "backoff 0\n"}, {park, ""},
		{note, "2 suspended 6\na b\nc\n\n7 waits"}, {note, "0 suspended 0\n"}, {note, "1 waits 0\n\xff"}, {note, ""},
		{reason, "3 attempts exhausted\nno\nroute"}, {reason, "0 skipped\n"},
		{name, "1 25u 3 \x01sak kx y"}, {name, "0 1hu 3 \x01sak d\x00 "},
		{declared, `7 team {"name":"a b"}`},
		{field, "3 \x01sak kx y"}, {field, "3 \x01sak d\x00 \xff"}, {field, "3 \x01sak kd"},
	} {
		if back := c.back(c.is); back != c.is {
			t.Errorf("%d: %q comes back as %q", i, c.is, back)
		}
	}
	if (Note{}).String() != "" {
		t.Error("a note that says nothing is stored")
	}
}
