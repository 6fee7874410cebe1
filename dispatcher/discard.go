package dispatcher

import (
	"context"
	_ "embed"
	"fmt"
)

//go:embed discard.lua
var discardLua string

var discardScript = verb("discard", discardLua)

// Discard deletes a dead letter for good. It returns [ErrNotFound] when there is
// no such dead letter.
func (d *Dispatcher) Discard(ctx context.Context, id string) error {
	p, _, err := d.deadLetter(ctx, id)
	if err != nil {
		return err
	}
	call := d.run.Once(p, discardScript, nil, packID(id))
	words, err := d.ask(ctx, call)
	if err == nil && words[0] != "ok" {
		err = fmt.Errorf("%w: job %q is not a dead letter", ErrNotFound, id)
	}
	return err
}
