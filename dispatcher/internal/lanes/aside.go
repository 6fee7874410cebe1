package lanes

import "context"

var asideScript = verb("aside")

// Aside renames a key that is not of the type that it must be, and returns which it was; "" when it is whole by
// now. Scripts that meet such a key fail with WRONGTYPE, so the doctor takes keys out of the way before it
// mends anything else. All that the key holds is kept under the other name.
func (n *Namespace) Aside(ctx context.Context, p int, key, aside, must string) (was string, err error) {
	words, err := n.Ask(ctx, n.Scripts.Plain(p, asideScript, []string{key, aside}, must))
	if err != nil || words[0] != "ok" {
		return "", Wrap("set a key aside", err)
	}
	return words[1], nil
}
