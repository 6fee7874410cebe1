// Package control is for operators who keep starts back: a hold bars what is in its scope, all kinds, a pool, a kind, a host,
// a lane or lanes, from starting, until it is released or its time is over. What runs goes on.
//
//	c := control.New(d)
//	h, err := c.Hold(ctx, control.Hold{Scope: control.Kind, Name: "publish", Reason: "mirror disk full"})
//	…
//	_, err = c.Release(ctx, h.ID)
//
// # How it holds
//
// All holds of a namespace are its policy: a short text with a version, the same in every partition. The scripts that give leases
// read it in the same step (I17 of the invariants that package dispatcher lists), so no claim is made without it, and a namespace without holds pays nothing. Setting a hold is two
// steps: it is written down once for the namespace, and then imposed on each partition; whoever dies in between, workers
// finish it with their next sign of life. Policies are imposed whole and the latest one stays, so it does not matter in which
// order messages arrive.
//
// Holds are layers: each has an id of its own, and what two of them bar stays barred until both are gone.
package control
