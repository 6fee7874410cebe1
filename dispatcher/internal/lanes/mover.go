package lanes

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
)

// Mover is one run of a command that moves a whole namespace. Of all runs one may write, the last that has taken over: its name
// stands in the meta, and in the clock of each partition, and the script that writes compares it. So what a run still sends after
// another has taken over, or has opened the namespace, has no effect, however late it comes.
type Mover struct {
	*Namespace
	run  record.Mover
	mark string // what the schema says meanwhile
}

// TakeOver makes a run, as long as the meta still says what was read there, and what is to be done is noted. It returns an error
// that wraps [ErrMismatch] when anything else has become of the namespace since. The run may write where it was let in: [Mover.Fence].
func (n *Namespace) TakeOver(ctx context.Context, read Meta, doing string) (*Mover, error) {
	now, err := n.Time(ctx)
	if err != nil {
		return nil, err
	}
	m := &Mover{n, record.NextMover(read.mover, rand.Text(), now), MarkOf(read.Schema, doing)}
	return m, n.mark(ctx, mark{read.Mark(), m.mark, read.mover, m.run.String()})
}

// Note changes fields of the meta, as long as this run may: how far it is.
func (m *Mover) Note(ctx context.Context, fields ...string) error {
	return m.Namespace.mark(ctx, mark{m.mark, m.mark, m.run.String(), m.run.String()}, fields...)
}

// Open ends the run and opens the namespace, with fields of its meta, for those who read that schema. Nobody may write for
// this run any more, itself included. It may be repeated by another run that takes over.
func (m *Mover) Open(ctx context.Context, schema string, fields ...string) error {
	if err := m.fence(ctx, m.run.Over(), m.clocks()); err != nil {
		return err
	}
	return m.Namespace.mark(ctx, mark{m.mark, schema, m.run.String(), m.run.Over().String()}, fields...)
}

// together sends calls of this run, and returns the first error.
func (m *Mover) together(ctx context.Context, calls []*script.Call) error {
	m.Scripts.Ride(ctx, calls...)
	for _, call := range calls {
		words, err := call.Words()
		if err == nil && words[0] != "ok" {
			err = m.overtaken()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// overtaken is the error of a run that may not write any more.
func (n *Namespace) overtaken() error {
	return fmt.Errorf("%w: another run has taken over namespace %s", ErrMismatch, n.Name)
}
