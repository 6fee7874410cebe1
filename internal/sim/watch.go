package sim

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Watch calls hung, with what all goroutines wait for, when beat was not called for so long. It must be called
// outside of a bubble: it is for one in which no time passes any more, which nothing in it can notice.
func Watch(limit time.Duration, hung func(dump string)) (beat, stop func()) {
	var beats atomic.Int64
	end := make(chan struct{})
	go func() {
		for last := int64(-1); ; {
			select {
			case <-end:
				return
			case <-time.After(limit):
			}
			now := beats.Load()
			if now == last {
				hung(Dump())
				return
			}
			last = now
		}
	}()
	return func() { beats.Add(1) }, sync.OnceFunc(func() { close(end) })
}

// Dump says what all goroutines wait for.
func Dump() string {
	buf := make([]byte, 4<<20)
	return string(buf[:runtime.Stack(buf, true)])
}
