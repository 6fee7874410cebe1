package dispatcher

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/lanekeeper/lanekeeper/internal/record"
)

//go:embed discard.lua
var discardLua string

var discardScript = verb("discard", discardLua)

// Discard deletes a dead letter for good. It returns [ErrNotFound] when there is
// no such dead letter.
func (d *Dispatcher) Discard(ctx context.Context, ref JobRef) error {
	p, _, err := d.deadLetter(ctx, ref)
	if err != nil {
		return err
	}
	call := d.run.Once(p, discardScript, nil, record.PackID(ref.ID))
	words, err := d.ask(ctx, call)
	if err == nil && words[0] != "ok" {
		err = fmt.Errorf("%w: job %s is not a dead letter", ErrNotFound, ref)
	}
	return err
}
