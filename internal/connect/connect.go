// Package connect makes go-redis clients with the settings that Lanekeeper wants:
// no identity and maintenance-notification commands, which old servers and the
// embedded one answer with errors, and contexts that end reads.
package connect

import (
	"fmt"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Parse returns a client for redis://, rediss:// and unix:// addresses. The error
// never shows the address: it may hold a password.
func Parse(address string) (*redis.Client, error) {
	opts, err := redis.ParseURL(address)
	if err != nil {
		return nil, fmt.Errorf("the Redis address is not of the form redis://[user:password@]host:port[/db], " +
			"rediss://… or unix://path")
	}
	return New(opts), nil
}

// New returns a client for opts, which it changes.
func New(opts *redis.Options) *redis.Client {
	opts.DisableIdentity = true
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	opts.ContextTimeoutEnabled = true
	return redis.NewClient(opts)
}
