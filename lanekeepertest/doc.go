// Package lanekeepertest tests code that enqueues jobs, and handlers that run them. It is for _test files alone.
//
// [New] gives a test a namespace of its own, on a server in the process, or on one of the test's. The code under test gets
// the [Kit]'s Dispatcher, and then the test asserts what is there ([Enqueued], [Kit.LaneOrder], [Kit.NothingEnqueued]), or
// runs it with the handlers of a pool ([Kit.Drain]). Time stands still until [Kit.Advance] moves it, and so what falls due
// is the test's to say. [Kit.ClaimAndDie] is a worker that is gone. [Kit.Away], [Kit.Slow] and [Kit.Full] are outages, until [Kit.Back].
//
// A handler is a function, and a test may call it: [Attempt] makes a context like that of an attempt, and [Result] has what
// the handler left. Whether its error is permanent, worker.IsPermanent says, and worker.RetryWait, which wait it asks for.
//
// A kit fails the test that made it, with what there was instead; so a subtest makes a kit of its own. Its methods are called
// by the goroutine of the test, but for Now, and for the Dispatcher's, which anybody may call.
//
// docs/features/testing.md has an example. Reading order: kit.go, drain.go, assert.go, attempt.go, die.go, outage.go with conn.go.
package lanekeepertest
