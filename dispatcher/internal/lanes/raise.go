package lanes

import "context"

var raiseScript = verb("raise")

// Raise brings one number of a partition's clock up to the least that it may be, and never down: "token", "seq"
// or "largest". It may be repeated.
func (n *Namespace) Raise(ctx context.Context, p int, which string, least int64) error {
	_, err := n.Ask(ctx, n.Scripts.Plain(p, raiseScript, nil, which, least))
	return err
}
