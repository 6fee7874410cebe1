package inspect

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Act is what an operator did: a command, or a program that calls the same verb. Of who did it, it has what that one said
// ([dispatcher.As]); all of that is empty where nothing was said.
type Act struct {
	At      time.Time   `json:"at"` // by Redis's clock, in UTC
	Who     string      `json:"who,omitempty"`
	Face    string      `json:"face,omitempty"` // through what: "cli" is the command
	Verb    string      `json:"verb"`           // one of [Verbs], or of a newer release's
	Subject subject.Key `json:"subject,omitzero"`
	JobID   string      `json:"id,omitempty"`   // the job; of a lane, its head then
	Kind    string      `json:"kind,omitempty"` // of "kind rm"
	Hold    string      `json:"hold,omitempty"` // id of the hold
	Before  string      `json:"before"`         // what the lane or the job was, in a few words for people
	After   string      `json:"after"`
	Why     string      `json:"why,omitempty"`
}

// Verbs are what an [Act] may be, as the commands are named.
var Verbs = []string{
	"lane suspend", "lane resume", "lane skip", "lane retry", "job cancel", "job suspend", "job resume", "dead replay", "dead discard", "kind rm", "doctor --fix", "hold", "release", "hold expire",
}

// AuditFilter picks acts. The zero value picks all that are kept.
type AuditFilter struct {
	Subject subject.Key // of its lane and its jobs
	Who     string
	Verb    string    // one of [Verbs], or a word of one: "suspend" is that of lanes and of jobs
	Since   time.Time // by Redis's clock
}

// Audit lists what operators did, the latest first, and returns the cursor of the next page. About the last 10,000 acts of the namespace
// are kept, each partition's share of them: an act is written by the script that does it. One that changed nothing leaves no line, and nor does one for
// which there is no memory, or no right.
//
// A page takes one XREVRANGE for each partition and one more, of as many lines as the page, or of 500 with a filter; then it may be
// short, and even empty, with a next one. A Verb that is none is an error that wraps [dispatcher.ErrInvalid]. A
// [dispatcher.IncompleteError] may come beside the list: acts in the partitions that it names are missing then.
func (in *Inspector) Audit(ctx context.Context, f AuditFilter, page Page) ([]Act, string, error) {
	limit, err := page.limit()
	if err != nil {
		return nil, "", err
	}
	if f.Verb != "" && !slices.ContainsFunc(Verbs, f.isVerb) {
		return nil, "", lanes.Invalid("verb", f.Verb, "must be one of "+strings.Join(Verbs, ", ")+", or a word of one")
	}
	before, err := parseActPlace(page.Cursor, in.lanes.Partitions)
	if err != nil {
		return nil, "", err
	}
	each := limit + 1
	if f.picky() {
		each = 500
	}
	lines, more, missing, err := in.readLogs(ctx, before, f.Since, each)
	if err != nil {
		return nil, "", err
	}
	acts := []Act{}
	for i, line := range lines {
		act, err := line.act()
		if err == nil && f.picks(act) { // one that can't be read was not written by a verb
			acts = append(acts, act)
		}
		if last := i == len(lines)-1; len(acts) == limit && (!last || more) || last && more {
			return acts, line.place.String(), missing.OrNil()
		}
	}
	return acts, "", missing.OrNil()
}

// picky reports whether lines are passed over.
func (f AuditFilter) picky() bool { return f.Subject != (subject.Key{}) || f.Who != "" || f.Verb != "" }

func (f AuditFilter) picks(a Act) bool {
	return (f.Subject == (subject.Key{}) || a.Subject == f.Subject) && (f.Who == "" || a.Who == f.Who) && (f.Verb == "" || f.isVerb(a.Verb)) && !a.At.Before(f.Since)
}

func (f AuditFilter) isVerb(verb string) bool {
	return verb == f.Verb || slices.Contains(strings.Fields(verb), f.Verb)
}

// logLine is an entry of a log, as it is stored.
type logLine struct {
	place  actPlace
	fields map[string]any
}

func (l logLine) act() (Act, error) {
	a, err := record.ParseAct(l.place.id(), l.fields)
	return Act{a.At, a.Who, a.Face, a.Verb, a.Subject, a.Job, a.Kind, a.Hold, a.Before, a.After, a.Why}, err
}

// readLogs reads up to `each` lines of every log that come after a place in the list, and returns them in its order, and whether there are
// more. A log of which there are more may have lines right behind the last that was read, so lines of others from before that are
// left to the next page.
func (in *Inspector) readLogs(ctx context.Context, before actPlace, since time.Time, each int) (all []logLine, more bool, missing *dispatcher.IncompleteError, err error) {
	parts := in.lanes.EveryPartition()
	found := make([][]logLine, len(parts)+1)
	read := func(i int, key string) (err error) {
		found[i], err = in.readLog(ctx, key, i, before, since, each)
		return err
	}
	missing, _, err = in.lanes.Across(parts, func(i int) error { return read(i, in.lanes.Keys(parts[i]).Audit()) })
	if err == nil {
		missing, err = missing.Without("the log of the namespace", read(len(parts), in.lanes.Audit()))
	}
	if err != nil {
		return nil, false, nil, lanes.Wrap("read the log of acts", err)
	}
	horizon := actPlace{}
	for _, lines := range found {
		if len(lines) == each {
			more = true
			if last := lines[each-1].place; horizon.compare(last) < 0 {
				horizon = last
			}
		}
		all = append(all, lines...)
	}
	all = slices.DeleteFunc(all, func(l logLine) bool { return l.place.compare(horizon) < 0 })
	slices.SortFunc(all, func(a, b logLine) int { return b.place.compare(a.place) })
	return all, more, missing, nil
}

// readLog reads lines of one log.
func (in *Inspector) readLog(ctx context.Context, key string, log int, before actPlace, since time.Time, n int) ([]logLine, error) {
	from := before.id()
	if log >= before.log { // its line of that very id was shown, or stands before it
		from = "(" + from
	}
	if before == (actPlace{}) {
		from = "+"
	}
	found, err := connect.Ask(ctx, func(ctx context.Context) ([]redis.XMessage, error) {
		return in.lanes.Redis.XRevRangeN(ctx, key, from, fmt.Sprint(max(0, since.UnixMilli())), int64(n)).Result()
	})
	lines := make([]logLine, len(found))
	for i, m := range found {
		lines[i].fields = m.Values
		if _, err := fmt.Sscanf(m.ID, "%d-%d", &lines[i].place.ms, &lines[i].place.n); err != nil {
			return nil, err
		}
		lines[i].place.log = log
	}
	return lines, err
}

// actPlace is a line's place in the order of acts, which is that of the list turned round: by time, and at one time by log: those of the partitions by
// their numbers, and then that of the namespace.
type actPlace struct {
	ms, n uint64
	log   int
}

func (p actPlace) id() string { return fmt.Sprintf("%d-%d", p.ms, p.n) }

func (p actPlace) compare(o actPlace) int {
	return cmp.Or(cmp.Compare(p.ms, o.ms), cmp.Compare(p.n, o.n), cmp.Compare(p.log, o.log))
}

// String is the place as a cursor.
func (p actPlace) String() string { return fmt.Sprintf("%d.%d.%d", p.ms, p.n, p.log) }

// parseActPlace takes only what String writes.
func parseActPlace(text string, partitions int) (p actPlace, err error) {
	if text == "" {
		return p, nil
	}
	n, err := fmt.Sscanf(text, "%d.%d.%d", &p.ms, &p.n, &p.log)
	if err != nil || n != 3 || p.String() != text || p.log < 0 || p.log > partitions || p == (actPlace{}) {
		return p, lanes.Invalid("cursor", text, "is not one that an earlier page returned")
	}
	return p, nil
}
