package session

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Attempt is an attempt that has ended, as the trail of the namespace shows it. Times are of Redis's clock, as near
// as the claim's round trip.
type Attempt struct {
	Subject    subject.Key `json:"subject"`
	ID         string      `json:"id"`
	Kind       string      `json:"kind"`
	Attempt    int         `json:"attempt"` // 1 is the first
	EnqueuedAt time.Time   `json:"enqueued_at,omitzero"`
	StartedAt  time.Time   `json:"started_at"`
	EndedAt    time.Time   `json:"ended_at"`
	Ending     Ending      `json:"ending"`
	Holder     string      `json:"holder"`
	Error      string      `json:"error,omitempty"` // the first line of it, 120 bytes at most
}

// Slow is how long an attempt takes at least that is never left out of the trail for going well.
const Slow = time.Second

// mostTrailError is how much of an error the trail keeps: all of the last one stands with its job.
const mostTrailError = 120

// Started is when an attempt began by Redis's clock, of which the caller knows by its own: a token is the time of its
// claim in microseconds, or a little later.
func (c *Claim) Started(at time.Time) time.Time {
	return given(c.Lease.Token).Add(max(0, at.Sub(c.Lease.Proven)))
}

// given is when a token was given out.
func given(t lease.Token) time.Time { return time.UnixMicro(int64(t)).UTC() }

// Ended is the lost attempt for the trail. Of one that was claimed along nobody knows whether it began.
func (l *LostAttempt) Ended() Attempt {
	at := given(l.Token)
	return Attempt{
		Subject: l.Subject, ID: l.Job, Kind: l.Kind, Attempt: l.Attempt, StartedAt: at, EndedAt: at.Add(l.Took), Ending: EndLost, Holder: l.Holder,
	}
}

// How many attempts one record has at most: of those that somebody will look for, and of a sample of those
// that went well and fast.
const (
	mostNotable = 300
	mostSampled = 200
)

// trail is what a session adds to the namespace's memory of attempts, in bounded space however many there are.
type trail struct {
	notable, fast sample
	watched       map[subject.Key]bool     // whose attempts are all to be told
	whole         map[subject.Key][]string // entries of those: the last ones that their trails have room for
}

// add takes an attempt, or leaves it to chance.
func (t *trail) add(a *Attempt) {
	if t.watched[a.Subject] {
		t.addWhole(a.Subject, record.TrailEntry(1, appendAttempt(nil, a)))
	}
	if a.Ending == EndFinished && a.EndedAt.Sub(a.StartedAt) < Slow {
		t.fast.add(a, mostSampled)
		return
	}
	t.notable.add(a, mostNotable)
}

func (t *trail) merge(o *trail) {
	t.notable.merge(&o.notable, mostNotable)
	t.fast.merge(&o.fast, mostSampled)
	for key, entries := range o.whole {
		t.addWhole(key, entries...)
	}
}

// addWhole adds entries of a watched subject. One more than may be watched is not remembered: others came while Redis was away.
func (t *trail) addWhole(key subject.Key, entries ...string) {
	if t.whole == nil {
		t.whole = make(map[subject.Key][]string)
	}
	all := append(t.whole[key], entries...)
	if len(t.whole) < lanes.MostWatched || t.whole[key] != nil {
		t.whole[key] = all[max(0, len(all)-lanes.MostTrailOf):]
	}
}

func (t *trail) empty() bool { return t.notable.seen+t.fast.seen+len(t.whole) == 0 }

func (t *trail) entries() []string {
	return append(t.notable.entries(mostNotable), t.fast.entries(mostSampled)...)
}

// sample keeps a uniform sample of attempts: each draws a number, and those with the smallest stay. Two samples make one by the
// same rule. It sorts only when it has twice as many as it is to keep, and below keeps out the others before they cost anything.
type sample struct {
	seen  int
	below float64 // 0 is no bound yet
	kept  []drawn
}

// usualEntry is what most entries have room in.
const usualEntry = 192

type drawn struct {
	number float64
	text   []byte // of the attempt
}

// add writes the attempt into the room of one that was thrown out: it keeps nothing that the attempt refers to, least
// of all its payload.
func (s *sample) add(a *Attempt, most int) {
	s.seen++
	number := rand.Float64()
	if s.below > 0 && number >= s.below {
		return
	}
	if s.kept == nil {
		s.kept = make([]drawn, 0, 2*most)
	}
	n := len(s.kept)
	s.kept = s.kept[:n+1]
	text := s.kept[n].text
	if text == nil {
		text = make([]byte, 0, usualEntry)
	}
	s.kept[n] = drawn{number, appendAttempt(text[:0], a)}
	s.cut(2*most-1, most)
}

// merge is right whatever the two have thrown out: each still has the smallest of its own.
func (s *sample) merge(o *sample, most int) {
	if o.seen == 0 {
		return
	}
	all := make([]drawn, 0, max(2*most, len(s.kept)+len(o.kept)))
	s.seen, s.kept = s.seen+o.seen, append(append(all, s.kept...), o.kept...)
	s.cut(most, most)
}

// cut throws out all but so many when there are more than enough.
func (s *sample) cut(enough, most int) {
	if len(s.kept) <= enough {
		return
	}
	slices.SortFunc(s.kept, func(a, b drawn) int { return cmp.Compare(a.number, b.number) })
	s.below = s.kept[most].number
	s.kept = s.kept[:most]
}

// entries are what is sent of it, each with how many attempts it stands for.
func (s *sample) entries(most int) []string {
	s.cut(most, most)
	texts := make([]string, len(s.kept))
	for i, d := range s.kept {
		texts[i] = record.TrailEntry((s.seen+len(s.kept)-1)/len(s.kept), d.text)
	}
	return texts
}

// appendAttempt appends an attempt in its stored form.
func appendAttempt(b []byte, a *Attempt) []byte {
	said, _, _ := strings.Cut(a.Error, "\n")
	if len(said) > mostTrailError {
		said = strings.ToValidUTF8(said[:mostTrailError], "")
	}
	return record.AppendAttempt(b, &record.Attempt{
		Began: a.StartedAt, Took: a.EndedAt.Sub(a.StartedAt), Enqueued: a.EnqueuedAt, Attempt: a.Attempt, Ending: string(a.Ending), Kind: a.Kind,
		Holder: a.Holder, Error: said,
	}, a.Subject, a.ID)
}

// AttemptOf reads what is stored of an attempt, for package dispatcher/inspect.
func AttemptOf(r record.Attempt) (Attempt, error) {
	id, err := record.UnpackID(r.ID)
	if err != nil {
		return Attempt{}, err
	}
	key, err := subject.FromCanonical(r.Subject)
	return Attempt{
		Subject: key, ID: id, Kind: r.Kind, Attempt: r.Attempt, EnqueuedAt: r.Enqueued, StartedAt: r.Began, EndedAt: r.Began.Add(r.Took),
		Ending: Ending(r.Ending), Holder: r.Holder, Error: r.Error,
	}, err
}
