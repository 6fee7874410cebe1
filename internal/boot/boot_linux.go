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

// told is what Slept has said last, and by how much the wall clock had gone on further than the monotonic one then.
type told struct{ slept, apart time.Duration }

var (
	start = time.Now()
	last  atomic.Pointer[told]
)

// Slept is for how long the machine has been suspended since it started: for so long the
// monotonic clock, by which Go's timers and time.Since go, stood still (golang/go#24595). It
// changes with a suspension and never otherwise, so two of its answers may be compared.
//
// A suspension moves the wall clock away from the monotonic one, and nearly nothing else does. So while these two, which are
// read without a call of the kernel, are as far apart as they were, the answer is what it was: the clock that says it takes
// three calls.
func Slept() time.Duration {
	now := time.Now()
	return answer(&last, now.Round(0).Sub(start.Round(0))-now.Sub(start), measure)
}

// answer says again what was said last, unless the clocks have moved apart since and measure says something else.
func answer(last *atomic.Pointer[told], apart time.Duration, measure func() time.Duration) time.Duration {
	was := last.Load()
	if was != nil && (apart-was.apart).Abs() < aReading {
		return was.slept
	}
	is := &told{measure(), apart}
	if was != nil && is.slept-was.slept < 2*aReading { // somebody has set the wall clock
		is.slept = was.slept
	}
	if !last.CompareAndSwap(was, is) {
		return answer(last, apart, measure)
	}
	return is.slept
}

// measure reads for how long the machine was suspended, and what a reading takes.
func measure() time.Duration {
	for {
		before, now, after := read(unix.CLOCK_MONOTONIC), Now(), read(unix.CLOCK_MONOTONIC)
		if after-before <= aReading { // else this thread was put aside in between
			return now - before
		}
	}
}

func read(clock int32) time.Duration {
	var at unix.Timespec
	if err := unix.ClockGettime(clock, &at); err != nil {
		panic("clock_gettime: " + err.Error()) // since Linux 2.6.39 there is no reason to
	}
	return time.Duration(at.Nano())
}
