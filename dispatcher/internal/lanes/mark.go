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
	return n, n.Mark(ctx, "", MarkOf(schema, doing), "partitions", strconv.Itoa(partitions), field, value)
}

// Mark says what is done with the namespace, and changes fields of its meta with that, pairs of a name and a value or ""
// for none. It returns an error that wraps [ErrMismatch] when the schema says neither from nor to: then somebody else
// does something with it. It may be repeated.
func (n *Namespace) Mark(ctx context.Context, from, to string, fields ...string) error {
	args := []any{from, to}
	for _, f := range fields {
		args = append(args, f)
	}
	words, err := n.Ask(ctx, n.Scripts.Whole(markScript, []string{n.Meta()}, args...))
	if err != nil {
		return err
	}
	if words[0] == "other" {
		return fmt.Errorf("%w: namespace %s says %q meanwhile, and not %q", ErrMismatch, n.Name, words[1], from)
	}
	return nil
}
