package lanes

import (
	"context"

	"github.com/lanekeeper/lanekeeper/internal/record"
)

// mostActs is how many lines the logs of all partitions together keep, about. Redis cuts them a node of a hundred at a time.
const mostActs = 10_000

type (
	actorKey struct{}
	worker   struct{} // in the place of an actor
)

// As says in a context who acts.
func As(ctx context.Context, who record.Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, who)
}

// AsWorker says that a worker acts by itself, and nobody wants a line of it.
func AsWorker(ctx context.Context) context.Context {
	return context.WithValue(ctx, actorKey{}, worker{})
}

// ActorOf is who acts, as a context says it.
func ActorOf(ctx context.Context) record.Actor {
	who, _ := ctx.Value(actorKey{}).(record.Actor)
	return who
}

// actor is how a script is told who acts: "" is a worker.
func (n *Namespace) actor(ctx context.Context) string {
	if ctx.Value(actorKey{}) == any(worker{}) {
		return ""
	}
	return ActorOf(ctx).Lines(max(1, mostActs/n.Partitions))
}

// Seen is the head of a lane that a caller saw and means. Its zero value is any.
type Seen struct {
	Set bool
	ID  string // "" where it saw no job
}

// packed is how a script is told.
func (s Seen) packed() string {
	switch {
	case !s.Set:
		return "*" // no packed id begins so
	case s.ID == "":
		return ""
	}
	return record.PackID(s.ID)
}

// MovedError says that another job is the head of a lane than the one that was seen: nothing was done. Head is the packed id
// of the job that is, "" where none is.
type MovedError struct{ Head string }

func (e *MovedError) Error() string { return "its head is " + IDText(e.Head) }

// notMoved is err, or a MovedError when a script has answered so.
func notMoved(words []string, err error) error {
	if err == nil && words[0] == "moved" {
		return &MovedError{words[1]}
	}
	return err
}
