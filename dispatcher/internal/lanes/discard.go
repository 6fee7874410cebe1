package lanes

import (
	"context"

	"github.com/lanekeeper/lanekeeper/subject"
)

var discardScript = verb("discard")

// Discard deletes a dead letter, by its packed id, and reports whether there was one. Nothing of the job is
// left after it. key is its subject, zero of one that can't be read.
func (n *Namespace) Discard(ctx context.Context, p int, key subject.Key, id string) (did bool, err error) {
	gone, err := n.DiscardAll(ctx, p, []Grave{{ID: id, Subject: key}})
	return gone == 1, err
}

// DiscardAll is Discard of a few hundred letters of one partition, and returns how many there were.
func (n *Namespace) DiscardAll(ctx context.Context, p int, letters []Grave) (gone int, err error) {
	if len(letters) == 0 {
		return 0, nil
	}
	args := []any{n.actor(ctx)}
	for _, l := range letters {
		canonical := ""
		if l.Subject.Validate() == nil {
			canonical = l.Subject.Canonical()
		}
		args = append(args, canonical, l.ID)
	}
	words, err := n.Ask(ctx, n.Scripts.Once(p, discardScript, nil, args...))
	for _, word := range words {
		if err == nil && word == "ok" {
			gone++
		}
	}
	return gone, err
}
