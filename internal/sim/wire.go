package sim

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// wire is one direction of a connection: what was written and not read yet. Unlike
// net.Pipe it has room, so that a pipeline whose replies start before its last request
// is written does not wait for itself.
type wire struct {
	mu       sync.Mutex
	changed  *sync.Cond
	buf      bytes.Buffer
	closed   bool
	notTill  time.Time // nothing arrives before
	deadline time.Time
}

func newWire() *wire {
	w := &wire{}
	w.changed = sync.NewCond(&w.mu)
	return w
}

func (w *wire) write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0, io.ErrClosedPipe
	}
	w.buf.Write(b)
	w.changed.Broadcast()
	return len(b), nil
}

func (w *wire) read(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		now := time.Now()
		switch {
		case !w.deadline.IsZero() && !now.Before(w.deadline):
			return 0, os.ErrDeadlineExceeded
		case now.Before(w.notTill):
			// not there yet
		case w.buf.Len() > 0:
			return w.buf.Read(b)
		case w.closed:
			return 0, io.EOF
		}
		w.waitLocked(now)
	}
}

// waitLocked waits for a change, or until what comes first of the deadline and the
// arrival of what is late.
func (w *wire) waitLocked(now time.Time) {
	var at time.Time
	for _, t := range []time.Time{w.deadline, w.notTill} {
		if t.After(now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if !at.IsZero() {
		timer := time.AfterFunc(at.Sub(now), func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.changed.Broadcast()
		})
		defer timer.Stop()
	}
	w.changed.Wait()
}

func (w *wire) setDeadline(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = t
	w.changed.Broadcast()
}

func (w *wire) delay(till time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notTill = till
	w.changed.Broadcast()
}

func (w *wire) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.changed.Broadcast()
}

// end is one end of a connection.
type end struct {
	in, out *wire
}

// pair returns the two ends of a new connection.
func pair() (client, server *end) {
	there, back := newWire(), newWire()
	return &end{in: back, out: there}, &end{in: there, out: back}
}

func (e *end) Read(b []byte) (int, error)         { return e.in.read(b) }
func (e *end) Write(b []byte) (int, error)        { return e.out.write(b) }
func (e *end) Close() error                       { e.in.close(); e.out.close(); return nil }
func (e *end) LocalAddr() net.Addr                { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (e *end) RemoteAddr() net.Addr               { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2} }
func (e *end) SetReadDeadline(t time.Time) error  { e.in.setDeadline(t); return nil }
func (e *end) SetWriteDeadline(_ time.Time) error { return nil }
func (e *end) SetDeadline(t time.Time) error      { return e.SetReadDeadline(t) }
