package lanes

import "context"

var discardScript = verb("discard")

// Discard deletes a dead letter, by its packed id, and reports whether there was one. Nothing of the job is
// left after it.
func (n *Namespace) Discard(ctx context.Context, p int, id string) (did bool, err error) {
	words, err := n.Ask(ctx, n.Scripts.Once(p, discardScript, nil, id))
	return err == nil && words[0] == "ok", err
}
