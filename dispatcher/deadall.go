package dispatcher

import (
	"cmp"
	"context"
	"slices"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// DeadReplay says how the letters of a set go back. The zero value puts each at the tail of its lane.
type DeadReplay struct {
	// Front puts them in front of what waits, the oldest of a lane first.
	Front bool

	// Merge merges one whose unique key another job has by now into that job; else it stays a dead letter.
	Merge bool

	// Progress, if it is set, is told how many letters of the set are behind.
	Progress func(done int)
}

// DeadReport says what became of the letters of a set. Those that none of its numbers has were not reached.
type DeadReport struct {
	Replayed  int `json:"replayed,omitempty"`
	Merged    int `json:"merged,omitempty"` // into the job that has the unique key
	Discarded int `json:"discarded,omitempty"`

	Gone       int `json:"gone"`                 // replayed or discarded by somebody else meanwhile, or dead anew
	Taken      int `json:"taken,omitempty"`      // another job has the unique key: still dead letters
	Unreadable int `json:"unreadable,omitempty"` // can only be looked at and discarded: still dead letters
}

// bulkChunk is the most letters that are replayed in one transaction, or discarded in one call: they take Redis less than
// 5 ms.
const bulkChunk = 32

// Replay puts the letters back with all their attempts before them, the oldest first, so each lane gets its own in
// their order. It goes in chunks, and rests so long between them that it takes at most a twentieth of Redis's time.
//
// With Front a lane's letters go in from the last to the first. Up to 32 of a lane go in together; of a lane that has
// more a worker may take one before those that belong in front of it are there.
//
// An error ends it where it is: what the report counts is done, and the same set picked anew is the rest. Nothing is
// lost, and nothing goes back twice.
func (s *DeadSet) Replay(ctx context.Context, o DeadReplay) (r DeadReport, err error) {
	place, onTaken, letters := "back", "refuse", s.letters
	if o.Front {
		place, letters = "front", toFront(s.letters)
	}
	if o.Merge {
		onTaken = "merge"
	}
	err = s.inChunks(ctx, letters, o.Front, o.Progress, func(part []lanes.Grave) error {
		back, err := s.stillDead(ctx, part, &r)
		if err != nil {
			return err
		}
		done, err := s.d.lanes.ReplayTogether(ctx, back, place, onTaken)
		for _, one := range done {
			switch one.Did {
			case "ok":
				r.Replayed++
			case "merged":
				r.Merged++
			case "taken":
				r.Taken++
			default:
				r.Gone++
			}
		}
		return err
	})
	return r, err
}

// Discard deletes the letters for good, the oldest first, at the pace of Replay. progress, if it is not nil, is told
// how many are behind.
func (s *DeadSet) Discard(ctx context.Context, progress func(done int)) (r DeadReport, err error) {
	err = s.inChunks(ctx, s.letters, false, progress, func(part []lanes.Grave) error {
		still, _, err := s.d.lanes.StillDead(ctx, part, false)
		if err != nil {
			return err
		}
		var dead []lanes.Grave
		for i, g := range part {
			if still[i] { // one that has died anew is another letter, which nobody has counted
				dead = append(dead, g)
			}
		}
		gone, err := s.d.lanes.DiscardAll(ctx, part[0].Partition, dead)
		if err == nil {
			r.Discarded, r.Gone = r.Discarded+gone, r.Gone+len(part)-gone
		}
		return err
	})
	return r, err
}

// inChunks goes through letters in their order, at the pace of long work. Of each chunk those of one partition go
// together. Where lanes are to stay together a chunk ends before one that it has no room for.
func (s *DeadSet) inChunks(ctx context.Context, letters []lanes.Grave, byLane bool, progress func(int), do func([]lanes.Grave) error) error {
	pace, done := s.d.lanes.Paced(), 0
	for len(letters) > 0 {
		n := upToChunk(letters, byLane)
		next := slices.Clone(letters[:n])
		slices.SortStableFunc(next, func(a, b lanes.Grave) int { return cmp.Compare(a.Partition, b.Partition) })
		for len(next) > 0 {
			here := next[0].Partition
			end := slices.IndexFunc(next, func(g lanes.Grave) bool { return g.Partition != here })
			if end < 0 {
				end = len(next)
			}
			if err := pace.Step(ctx, func() error { return do(next[:end]) }); err != nil {
				return err
			}
			if done += end; progress != nil {
				progress(done)
			}
			next = next[end:]
		}
		letters = letters[n:]
	}
	return nil
}

// upToChunk is how many of the letters make the next chunk: no more than one call may read (I16), and one in any case.
func upToChunk(letters []lanes.Grave, byLane bool) int {
	n, bytes, lane := 0, 0, 0
	for ; n < min(bulkChunk, len(letters)); n++ {
		if n > 0 && letters[n].Subject != letters[n-1].Subject {
			lane = n
		}
		if bytes += letters[n].Bytes; bytes > MaxBatchBytes && n > 0 {
			break
		}
	}
	if byLane && lane > 0 && n < len(letters) && letters[n].Subject == letters[n-1].Subject {
		return lane
	}
	return n
}

// toFront puts letters in the order in which they go to the front of their lanes: lane by lane, from the last to the
// first.
func toFront(letters []lanes.Grave) []lanes.Grave {
	var lanesOf []subject.Key
	of := make(map[subject.Key][]lanes.Grave)
	for _, g := range letters {
		if len(of[g.Subject]) == 0 {
			lanesOf = append(lanesOf, g.Subject)
		}
		of[g.Subject] = append(of[g.Subject], g)
	}
	all := make([]lanes.Grave, 0, len(letters))
	for _, key := range lanesOf {
		slices.Reverse(of[key])
		all = append(all, of[key]...)
	}
	return all
}

// stillDead returns those letters of one partition that can go back, in their order, and counts the others.
func (s *DeadSet) stillDead(ctx context.Context, part []lanes.Grave, r *DeadReport) (back []lanes.Replaying, err error) {
	still, stored, err := s.d.lanes.StillDead(ctx, part, true)
	if err != nil {
		return nil, err
	}
	for i, g := range part {
		text, _ := stored[i].(string)
		_, job, err := record.DecodeJob(g.ID, text)
		switch {
		case !still[i]:
			r.Gone++
		case err != nil || job.Subject.Validate() != nil:
			r.Unreadable++
		default:
			back = append(back, lanes.Replaying{Key: job.Subject, Job: job.Entry(g.ID)})
		}
	}
	return back, nil
}
