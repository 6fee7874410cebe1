// Package result is how a handler's result gets from worker.SetResult to whoever runs the handler: an attempt of a
// pool, or a test that calls it by itself.
package result

import "context"

// Keeper takes the result of one attempt, the last one of several.
type Keeper interface{ KeepResult(result []byte) }

type key struct{}

// With returns the context of an attempt whose result k keeps.
func With(ctx context.Context, k Keeper) context.Context { return context.WithValue(ctx, key{}, k) }

// KeeperOf returns who keeps the result of the attempt that ctx is of. ok is false where nobody does.
func KeeperOf(ctx context.Context) (k Keeper, ok bool) {
	k, ok = ctx.Value(key{}).(Keeper)
	return k, ok
}
