package main

import (
	"context"
	"encoding/binary"
	"errors"
	"time"
)

// job is what every contender carries: a subject, and 100 bytes of payload that start
// with the job's number in its lane.
type job struct {
	subject string
	payload []byte
}

const payloadBytes = 100

func newJob(subject string, n int) job {
	j := job{subject, make([]byte, payloadBytes)}
	binary.BigEndian.PutUint64(j.payload, uint64(n))
	return j
}

func (j job) number() int { return int(binary.BigEndian.Uint64(j.payload)) }

// contender is one system under test. A new one is made for each measurement, on an
// empty store.
type contender interface {
	// enqueue puts jobs in, in as few round trips as the system can.
	enqueue(ctx context.Context, jobs []job) error
	// work runs handle for each job until stop is called.
	work(concurrency int, handle func(context.Context, job)) (stop func() error, err error)
	close() error
}

// errNotApplicable is returned for what a contender has no way to do.
var errNotApplicable = errors.New("not applicable")

// contenders are made by name, in the order in which they run and are printed.
var contenders = []struct {
	name string
	make func(ctx context.Context, at *venue) (contender, error)
}{
	{"lanekeeper", newLanekeeper},
	{"asynq", newAsynq},
	{"asynq+lock", newAsynqLock},
	{"river", newRiver},
	{"raw", newRaw},
}

// venue is where contenders run.
type venue struct {
	redis    *server
	postgres *postgres // nil when it is not installed
	quick    bool
}

// scaled is n, or less in a quick run.
func (v *venue) scaled(n, quick int) int {
	if v.quick {
		return quick
	}
	return n
}

const (
	producers   = 16
	concurrency = 50
	enqueueBy   = 100 // jobs a batch
	stopWait    = 30 * time.Second
)
