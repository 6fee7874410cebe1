package lanes

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

var gravesScript = verb("graves")

// graveStep is how many dead letters one call reads: it takes Redis half a ms.
const graveStep = 200

// LostAndFound is the reason of a letter that a repair has made of a job which stood nowhere.
const LostAndFound = "lost+found"

// Grave is what a dead letter is about, without its payload and error. A letter that can't be read has no Kind
// and no Subject.
type Grave struct {
	Partition int
	ID        string  // packed
	Died      float64 // ms; no two letters of a partition die at the same time
	Bytes     int     // of the stored job
	Order     int64   // its number among those of its lane
	Subject   subject.Key
	Kind      string
	Reason    string
}

// Graves reads one step of a partition's dead letters, the latest first: of those that died before one moment, and
// at or after another, in ms; infinite is no bound. Fewer than a step may come before the last, because jobs are
// large; none says that there are no more. It costs one call, whatever the letters weigh.
func (n *Namespace) Graves(ctx context.Context, p int, before, since float64) ([]Grave, error) {
	words, err := n.Ask(ctx, n.Scripts.Plain(p, gravesScript, nil, Score(before), Score(since), graveStep))
	if err != nil {
		return nil, Wrap("read dead letters", err)
	}
	const each = 5
	if (len(words)-1)%each != 0 {
		return nil, cutOff("graves", words)
	}
	graves := make([]Grave, 0, len(words)/each)
	for rest := words[1:]; len(rest) > 0; rest = rest[each:] {
		g := Grave{Partition: p, ID: rest[0]}
		if g.Died, err = strconv.ParseFloat(rest[1], 64); err != nil {
			return nil, fmt.Errorf("graves: reply %q: %w", rest[1], err)
		}
		g.Bytes, _ = strconv.Atoi(rest[2])
		if _, job, err := record.DecodeFront(g.ID, rest[3]); err == nil {
			g.Order, g.Subject, g.Kind = job.Order, job.Subject, job.Kind
		}
		_, g.Reason, _ = record.ParseReason(rest[4])
		graves = append(graves, g)
	}
	return graves, nil
}

// Score is a time in ms as a sorted set compares it.
func Score(at float64) string {
	switch {
	case math.IsInf(at, 1):
		return "+inf"
	case math.IsInf(at, -1):
		return "-inf"
	}
	return strconv.FormatFloat(at, 'f', -1, 64)
}

// StillDead reads what letters of one partition are by now, in one transaction: still has true for each that died
// when it is said to have, and has not been replayed meanwhile; stored has their jobs, where they are asked for. How
// many bytes those may have the caller bounds.
func (n *Namespace) StillDead(ctx context.Context, graves []Grave, bodies bool) (still []bool, stored []any, err error) {
	keys, ids := n.keys[graves[0].Partition], make([]string, len(graves))
	for i, g := range graves {
		ids[i] = g.ID
	}
	var died *redis.FloatSliceCmd
	var jobs *redis.SliceCmd
	err = n.Atomically(ctx, func(tx redis.Pipeliner) {
		died = tx.ZMScore(ctx, keys.Dead(), ids...)
		if bodies {
			jobs = tx.HMGet(ctx, keys.Jobs(), ids...)
		}
	})
	if err != nil {
		return nil, nil, Wrap("look for dead letters", err)
	}
	still = make([]bool, len(graves))
	for i, at := range died.Val() {
		still[i] = at == graves[i].Died
	}
	if bodies {
		stored = jobs.Val()
	}
	return still, stored, nil
}
