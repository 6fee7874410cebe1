//go:build !linux

// Package boot tells for how long the machine was suspended.
package boot

import "time"

var start = time.Now()

// Slept is by how much the wall clock has gone on further than the monotonic one since the process
// started. Here a wall clock that is set forward counts as a suspension, which is the safe side.
func Slept() time.Duration {
	now := time.Now()
	return max(0, now.Round(0).Sub(start.Round(0))-now.Sub(start))
}
