package boot

import (
	"time"

	"golang.org/x/sys/unix"
)

// Now is a time that all processes of the machine have the same, and that no setting of a clock changes. On macOS this
// clock goes on while the machine is suspended, as Linux's CLOCK_BOOTTIME does.
func Now() time.Duration {
	var at unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &at); err != nil {
		panic("clock_gettime: " + err.Error()) // there is no reason to
	}
	return time.Duration(at.Nano())
}
