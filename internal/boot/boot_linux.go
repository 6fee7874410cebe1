// Package boot tells the time since the machine started, which no setting of a clock changes, and
// which goes on while the machine is suspended.
package boot

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Now is the time since the machine started. All its processes have the same.
func Now() time.Duration { return read(unix.CLOCK_BOOTTIME) }

// aReading is longer than it takes to read two clocks one after the other.
const aReading = time.Millisecond

var slept atomic.Int64 // as it was told last

// Slept is for how long the machine has been suspended since it started: for so long the
// monotonic clock, by which Go's timers and time.Since go, stood still (golang/go#24595). It
// changes with a suspension and never otherwise, so two of its answers may be compared.
func Slept() time.Duration {
	for {
		before, now, after := read(unix.CLOCK_MONOTONIC), Now(), read(unix.CLOCK_MONOTONIC)
		if after-before > aReading { // this thread was put aside in between
			continue
		}
		told, fresh := time.Duration(slept.Load()), now-before
		if told != 0 && fresh-told < 2*aReading {
			return told
		}
		slept.CompareAndSwap(int64(told), int64(max(fresh, 1)))
	}
}

func read(clock int32) time.Duration {
	var at unix.Timespec
	if err := unix.ClockGettime(clock, &at); err != nil {
		panic("clock_gettime: " + err.Error()) // since Linux 2.6.39 there is no reason to
	}
	return time.Duration(at.Nano())
}
