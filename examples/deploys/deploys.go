// Package deploys is a small service, for its tests: they show what package lanekeepertest is for.
package deploys

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
	"github.com/lanekeeper/lanekeeper/worker"
)

// Rollout is the payload of deploy jobs.
type Rollout struct{ Version string }

// The kinds of the service. A host that was deployed to is checked an hour later.
var (
	Deploy = dispatcher.KindOf[Rollout]("deploy")
	Check  = dispatcher.KindOf[Rollout]("check")
)

// Errors of hosts.
var (
	ErrNoSuchVersion = errors.New("no such version")
	ErrBusy          = errors.New("host is busy")
)

// Hosts is what the service works on: a host takes a version, unless it has seen a larger token.
type Hosts interface {
	Install(ctx context.Context, host, version string, token lease.Token) error
}

// Request has a version deployed to a host, after all that was requested for it before.
func Request(ctx context.Context, d *dispatcher.Dispatcher, host string, r Rollout) error {
	key := subject.Of("host", host)
	if _, err := Deploy.Enqueue(ctx, d, key, r); err != nil {
		return fmt.Errorf("request %s for %s: %w", r.Version, host, err)
	}
	check, err := Check.Job(key, r)
	if err != nil {
		return err
	}
	check.Delay = time.Hour
	_, err = d.Enqueue(ctx, check)
	return err
}

// Handle makes the handler of deploy jobs.
func Handle(hosts Hosts) func(ctx context.Context, r Rollout) error {
	return func(ctx context.Context, r Rollout) error {
		claim, _ := worker.FromContext(ctx)
		err := hosts.Install(ctx, claim.Subject.ID, r.Version, claim.Lease.Token)
		switch {
		case errors.Is(err, ErrNoSuchVersion):
			return worker.Permanent(err)
		case errors.Is(err, ErrBusy):
			return worker.RetryAfter(time.Minute, err)
		case err != nil:
			return err
		}
		return worker.SetResult(ctx, []byte(r.Version))
	}
}

// NewPool returns a pool with the handlers of the service. A program calls its Run.
func NewPool(d *dispatcher.Dispatcher, hosts Hosts) (*worker.Pool, error) {
	pool, err := worker.New(d, worker.Config{})
	if err != nil {
		return nil, err
	}
	worker.Handle(pool, Deploy, Handle(hosts))
	worker.Handle(pool, Check, func(context.Context, Rollout) error { return nil })
	return pool, nil
}
