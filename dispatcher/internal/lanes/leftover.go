package lanes

import "context"

var leftoverScript = verb("leftover")

// Leftover looks whether an entry of an index is stale ("look"), or drops it if so ("drop"), and reports
// whether it is. The doctor suspects entries by what it has read at many moments; here all that counts is read
// at one. field is "" but for unique keys.
func (n *Namespace) Leftover(ctx context.Context, p int, index, how, field, id string) (stale bool, err error) {
	words, err := n.Ask(ctx, n.Scripts.Plain(p, leftoverScript, nil, index, how, field, id))
	return err == nil && words[0] == "gone", err
}
