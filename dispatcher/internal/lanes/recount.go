package lanes

import "context"

var recountScript = verb("recount")

// Recount corrects how many bytes of outcomes a partition's clock says are kept, unless that has changed since
// it said so. It reports whether it did. The number is what makes old outcomes go for new ones
// (parts/kept.lua): too high, they go before their time; too low, there is no bound.
func (n *Namespace) Recount(ctx context.Context, p int, said string, are int64) (did bool, err error) {
	words, err := n.Ask(ctx, n.Scripts.Plain(p, recountScript, nil, said, are))
	return err == nil && words[0] == "ok", err
}
