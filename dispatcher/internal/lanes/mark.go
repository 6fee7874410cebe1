package lanes

import (
	"context"
	"fmt"
	"strconv"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/subject"
)

var markScript = whole("mark")

// Create makes a namespace that nobody may open yet, cut as cfg says, or fails when there is one. What is done with it, and
// the field of that, stand in its meta.
func Create(ctx context.Context, cfg Config, doing, field, value string) (*Namespace, error) {
	if err := refuseEviction(ctx, cfg.Redis); err != nil {
		return nil, err
	}
	partitions, err := connect.Ask(ctx, func(ctx context.Context) (int, error) { return partitionsOfNew(ctx, cfg) })
	if err != nil {
		return nil, fmt.Errorf("make namespace %s: %w", cfg.Name, err)
	}
	n := of(cfg, subject.Namespace{Name: cfg.Name, Partitions: partitions})
	return n, n.mark(ctx, mark{to: MarkOf(schema, doing)}, "partitions", strconv.Itoa(partitions), field, value)
}

// mark is a change of what a namespace says is done with it, and of the run that does it.
type mark struct{ from, to, was, run string }

// mark makes the change, and with it that of fields of its meta, pairs of a name and a value or "" for none. It returns an
// error that wraps [ErrMismatch] when the meta says neither what it was nor all that it is to be: then somebody else does something
// with the namespace. It may be repeated.
func (n *Namespace) mark(ctx context.Context, m mark, fields ...string) error {
	args := []any{m.from, m.to, m.was, m.run}
	for _, f := range fields {
		args = append(args, f)
	}
	words, err := n.Ask(ctx, n.Scripts.Whole(markScript, []string{n.Meta()}, args...))
	switch {
	case err != nil:
		return err
	case words[0] == "other":
		return fmt.Errorf("%w: namespace %s says %q meanwhile, and not %q", ErrMismatch, n.Name, words[1], m.from)
	case words[0] == "taken":
		return n.overtaken()
	}
	return nil
}
