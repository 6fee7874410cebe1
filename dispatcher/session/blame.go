package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// blame is what a session is blamed for. For the others it is a session that does not handle those kinds for a
// while: it claims none of them, and says so in its entry. Which worker is to blame is judged above, in package
// worker; here stands what follows from it.
type blame struct {
	mu    sync.Mutex
	why   map[string]string // by kind
	probe map[string]bool   // kinds of which it may try one lane all the same
}

// Finished returns how many attempts at a kind have gone well anywhere, as far as was recorded: sessions record
// every few seconds ([Session.Record]), so the last few may be missing. It reads the kind's durations, in one
// round trip.
func (s *Session) Finished(ctx context.Context, kind string) (int64, error) {
	all, err := s.lanes.Measures(ctx, kind)
	return all.Endings[string(EndFinished)], err
}

// Blame says to whoever lists workers that the session's is to blame for what fails of a kind, claims no
// more of it until [Session.Absolve], and gives back the attempts that failed. The last worker alive that
// handles the kind can't be blamed: it reports false, and claims on. So it is called again while the blame
// stands, for the others may have gone meanwhile.
//
// An attempt that an error keeps from being given back is owed, and given by another call. Only a job of which it is not
// known whether it has its attempt back is not tried again, lest it gets two: the error names it.
//
// It costs a beat, a list of workers, and one round trip for each attempt to be given back, more where that job
// is a dead letter. One call runs at a time.
func (s *Session) Blame(ctx context.Context, kind, why string, failed []*Claim) (bool, error) {
	s.refunding.Lock()
	defer s.refunding.Unlock()
	before := s.blameFor(kind, why)
	// First it is said, and then looked: of two that say it at once at least one sees the other.
	err := s.Beat(ctx)
	others := false
	if err == nil {
		others, err = s.othersTake(ctx, kind)
	}
	switch {
	// A new blame stands only once it was said and others were seen: else it is taken back here, and in Redis
	// with the next beat.
	case err != nil && before == "":
		s.blameFor(kind, "")
		return false, err
	case err != nil:
		s.refunds = append(s.refunds, failed...)
		return true, err
	case !others:
		s.Absolve(kind, false)
		return false, s.Beat(ctx)
	}
	s.refunds = append(s.refunds, failed...)
	if before == "" {
		left := s.claimant()
		s.standAside(ctx, s.under(&left))
	}
	return true, s.giveAttemptsBack(ctx)
}

// Absolve ends the blame for a kind; or, with probe, lets the session claim one lane of it, by which it is seen
// whether it does well again. It asks Redis nothing: others see the end of the blame with the next beat.
func (s *Session) Absolve(kind string, probe bool) {
	if !probe {
		s.blameFor(kind, "")
		return
	}
	s.blame.mu.Lock()
	defer s.blame.mu.Unlock()
	if s.blame.why[kind] != "" {
		s.blame.probe[kind] = true
	}
}

// blameFor sets what the session is blamed for in a kind, "" for nothing, and returns what it was. When the
// blame ends, a try that was not made yet ends with it.
func (s *Session) blameFor(kind, why string) (before string) {
	s.blame.mu.Lock()
	defer s.blame.mu.Unlock()
	b := &s.blame
	before = b.why[kind]
	if b.why == nil {
		b.why, b.probe = make(map[string]string), make(map[string]bool)
	}
	b.why[kind] = why
	if why == "" {
		delete(b.why, kind)
		delete(b.probe, kind)
	}
	return before
}

// said is what the session says of itself, in JSON. It is made under the mutex: the map of blames is the
// session's own.
func (s *Session) said() (string, error) {
	s.blame.mu.Lock()
	defer s.blame.mu.Unlock()
	w := s.info
	w.Blamed = s.blame.why
	info, err := json.Marshal(w)
	return string(info), err
}

// claimant is who claims now: without the kinds that it is blamed for, and those that are held for it. The kinds of s.who are
// never changed, so trips under way keep theirs.
func (s *Session) claimant() Claimant {
	s.blame.mu.Lock()
	defer s.blame.mu.Unlock()
	who := s.who
	if len(s.blame.why) > 0 {
		who.Kinds = slices.DeleteFunc(slices.Clone(who.Kinds), func(kind string) bool { return s.blame.why[kind] != "" })
	}
	s.unheld(&who)
	return who
}

// waitsFor reports whether the session waits for hints of a kind: not of one that it is blamed for, nor of one that is held for
// it and not for everybody. Hints of what is held for everybody lead nowhere, and so go by.
func (s *Session) waitsFor(kind string) bool {
	s.blame.mu.Lock()
	blamed := s.blame.why[kind] != ""
	s.blame.mu.Unlock()
	is, everybody := s.holdsKind(kind)
	return !blamed && (!is || everybody)
}

// prober is who makes the one turn by which it is seen whether the session does a kind well again, and the
// first of some turns that it may be; nil when nothing is to be tried, or no turn has room. A kind is tried
// once for each call of Absolve, job by job. Other kinds that are to be tried wait for another turn that has
// room.
func (s *Session) prober(turns []Turn) (*Claimant, int) {
	at := slices.IndexFunc(turns, func(t Turn) bool { return t.Claim && t.Want > 0 })
	if at < 0 {
		return nil, at
	}
	s.blame.mu.Lock()
	defer s.blame.mu.Unlock()
	for kind := range s.blame.probe {
		delete(s.blame.probe, kind)
		who := s.who
		who.Kinds, who.LaneBatch = []string{kind}, nil
		return &who, at
	}
	return nil, at
}

// othersTake reports whether there is another worker that takes jobs of a kind: one that is alive, handles it,
// and is not blamed for it itself. It lists all workers.
func (s *Session) othersTake(ctx context.Context, kind string) (bool, error) {
	workers, err := Workers(ctx, s.d)
	return slices.ContainsFunc(workers, func(w Worker) bool { return w.Holder != s.who.Holder && w.Takes(kind) }), err
}

// Takes reports whether a worker is alive, handles a kind, and is not blamed for it. A worker that has just
// died takes its kinds for up to [LostAfter].
func (w *Worker) Takes(kind string) bool {
	return w.Alive && slices.Contains(w.Kinds, kind) && w.Blamed[kind] == ""
}

// Why says what a worker is blamed for, a text for each kind.
func (w *Worker) Why() (texts []string) {
	for _, kind := range slices.Sorted(maps.Keys(w.Blamed)) {
		texts = append(texts, kind+": "+w.Blamed[kind])
	}
	return texts
}

// giveAttemptsBack gives back what is owed, one attempt after the other. An attempt of which it is not known whether it was
// given back is not owed any more. One that Redis refused, as a dead letter whose unique key another job has, is owed
// still and keeps no other one waiting; but a Redis that does not answer is asked for no more of them. The caller has
// s.refunding.
func (s *Session) giveAttemptsBack(ctx context.Context) (all error) {
	owed := s.refunds
	s.refunds = nil
	for i, c := range owed {
		err := s.refund(ctx, s.who.Holder, c)
		if err == nil {
			continue
		}
		all = errors.Join(all, fmt.Errorf("give an attempt of %s back: %w", c.ID, err))
		if !lanes.Unanswered(err) {
			s.refunds = append(s.refunds, c)
		}
		if ctx.Err() != nil || errors.Is(err, connect.ErrUnavailable) {
			s.refunds = append(s.refunds, owed[i+1:]...)
			break
		}
	}
	return all
}

// refund gives the last attempt of a job back. One that it has made a dead letter goes back to the front of its
// lane, with all its attempts. A job that has ended otherwise, or that was discarded, is no error.
func (s *Session) refund(ctx context.Context, holder string, c *Claim) error {
	dead, err := s.lanes.Refund(ctx, holder, c.Subject, c.ID)
	if err == nil && dead {
		_, err = s.d.Replay(lanes.AsWorker(ctx), c.Ref(), true)
	}
	return err
}
