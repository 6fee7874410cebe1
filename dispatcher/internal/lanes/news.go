package lanes

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Newsroom tells waiters that something may have happened to what they wait for. One subscription serves all of
// them, and none is there when nobody waits. Its word is a hint, and never the truth: waiters ask Redis,
// and do so now and then without a hint too.
//
// A listener is a channel with room for one signal, so a slow waiter holds nobody up and misses nothing: one
// signal says that there was something since it last looked. All fields below mu are under it. The reader is
// one goroutine, which ends when the last listener has left.
type Newsroom struct {
	rdb redis.UniversalClient

	Deaf  bool          // set by tests
	Quiet time.Duration // set by tests: silentFor otherwise

	mu        sync.Mutex
	reading   bool
	live      map[string]bool                     // channels that are heard, as far as is known
	listeners map[string]map[chan struct{}]bool   // by channel
	changed   map[string]bool                     // channels that the reader has to look at
	said      map[<-chan struct{}]map[string]bool // of those who want to know: what was said since they asked last
	kick      chan struct{}                       // ends a pause of the reader
}

// newcomers is how long a new listener waits for its subscription at most.
const newcomers = 100 * time.Millisecond

// silentFor is how long nothing may come over a connection until it is asked for a sign of life. Twice
// that long and it is given up: what breaks one on the way need not tell.
const silentFor = 10 * time.Second

// A waiter that hears what is said looks by itself now and then; one that does not, because there is
// no pub/sub or no right to it, looks after a second, and less and less often the longer it waits.
const (
	LookAgain  = time.Second
	lookRarely = 30 * time.Second
	deafShare  = 10 // it looks after a tenth of the time that it has waited
)

// Pace is how long somebody who has waited for so long waits until the next look, if nothing is said. As long
// as the channel is heard that is 20 to 30 s, and otherwise 1 s at first and 30 s at most.
func (n *Newsroom) Pace(channel string, waited time.Duration) time.Duration {
	n.mu.Lock()
	hears := n.live[channel]
	n.mu.Unlock()
	if hears { // not all at the same moment
		return lookRarely - rand.N(lookRarely/3)
	}
	return min(max(LookAgain, waited/deafShare), lookRarely)
}

// Hears reports whether a channel is heard, as far as is known.
func (n *Newsroom) Hears(channel string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.live[channel]
}

// heardOf notes that a subscription has begun, and signals it: what happened before was not heard. deafen notes
// that none is heard any more, and has all who wait look by themselves.
func (n *Newsroom) heardOf(channel string) {
	n.mu.Lock()
	if n.live == nil {
		n.live = make(map[string]bool)
	}
	n.live[channel] = n.listeners[channel] != nil
	n.mu.Unlock()
	n.signal(channel, "")
}

func (n *Newsroom) deafen() {
	n.mu.Lock()
	lost := slices.Collect(maps.Keys(n.live))
	clear(n.live)
	n.mu.Unlock()
	for _, channel := range lost {
		n.signal(channel, "")
	}
}

// Listen returns a channel that gets a signal when there is news on any of the channels of Redis that are
// named, and when the subscription to one of them has begun: what happened before that was not heard, so
// whoever waits must look then. It does not wait for the subscription, and costs no round trip of the caller's.
// leave must be called, and may be called twice.
func (n *Newsroom) Listen(channels ...string) (heard <-chan struct{}, leave func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.listenLocked(channels)
}

// ListenToEach is Listen for several sets of channels, whose subscriptions begin together: the reader sees them
// in one look, and sends one command.
func (n *Newsroom) ListenToEach(sets ...[]string) (heard []<-chan struct{}, leave []func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, channels := range sets {
		signal, l := n.listenLocked(channels)
		heard, leave = append(heard, signal), append(leave, l)
	}
	return heard, leave
}

// Keep has what is said to a listener kept until it takes it: the texts, each once. It is for offers, whose
// text says which partition they are for.
func (n *Newsroom) Keep(heard <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.said == nil {
		n.said = make(map[<-chan struct{}]map[string]bool)
	}
	n.said[heard] = make(map[string]bool)
}

// Take returns what was said to a listener since it took last, "" among it when something may have been missed;
// nil for a listener for whom nothing is kept.
func (n *Newsroom) Take(heard <-chan struct{}) map[string]bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	said := n.said[heard]
	if said != nil {
		n.said[heard] = make(map[string]bool)
	}
	return said
}

// listenLocked adds a listener, and starts the reader when none is at work. The caller has mu.
func (n *Newsroom) listenLocked(channels []string) (heard <-chan struct{}, leave func()) {
	signal := make(chan struct{}, 1)
	if n.listeners == nil {
		n.listeners, n.changed = make(map[string]map[chan struct{}]bool), make(map[string]bool)
		n.kick = make(chan struct{}, 1)
	}
	for _, c := range channels {
		if n.listeners[c] == nil {
			n.listeners[c] = make(map[chan struct{}]bool)
			n.changed[c] = true
		}
		n.listeners[c][signal] = true
	}
	if !n.reading && !n.Deaf {
		n.reading = true
		go n.read()
	}
	return signal, func() { n.leave(signal, channels) }
}

// leave takes a listener off its channels. The reader leaves those that have none left, at its next look; the
// kick is for a reader that pauses after a failure.
func (n *Newsroom) leave(signal chan struct{}, channels []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.said, signal)
	for _, c := range channels {
		if delete(n.listeners[c], signal); len(n.listeners[c]) == 0 {
			delete(n.listeners, c)
			delete(n.live, c)
			n.changed[c] = true
		}
	}
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// read reads for as long as anybody listens. It alone uses the subscription: go-redis keeps a lock on one while
// it connects again. It looks for changes at least every 100 ms, which is the timeout of a read. After a
// failure it pauses, 100 ms at first and a second at most, a little less each time so that many processes do
// not come back together.
func (n *Newsroom) read() {
	ctx := context.Background()
	sub := n.rdb.Subscribe(ctx)
	defer func() { _ = sub.Close(); n.deafen() }()
	last, asked := time.Now(), false // when something came, and whether a sign was asked for since
	quiet := cmp.Or(n.Quiet, silentFor)
	for failures := 0; ; {
		come, gone, over := n.changes()
		if over {
			return
		}
		var err error
		if len(come) > 0 {
			err = sub.Subscribe(ctx, come...) // it is repeated after a reconnect
		}
		if len(gone) > 0 {
			err = errors.Join(err, sub.Unsubscribe(ctx, gone...))
		}
		var event any
		if err == nil {
			event, err = sub.ReceiveTimeout(ctx, newcomers)
		}
		var network net.Error
		if event != nil {
			last, asked = time.Now(), false
		}
		switch e := event.(type) {
		case *redis.Subscription:
			if e.Kind == "subscribe" {
				n.heardOf(e.Channel)
			}
		case *redis.Message:
			n.signal(e.Channel, e.Payload)
		}
		silent := time.Since(last)
		if err == nil || silent < 2*quiet && errors.As(err, &network) && network.Timeout() {
			failures = 0
			if silent > quiet && !asked {
				asked = true
				_ = sub.Ping(ctx)
			}
			continue
		}
		n.deafen()
		if silent >= 2*quiet { // go-redis would wait for this connection for ever
			_ = sub.Close()
			sub = n.rdb.Subscribe(ctx)
			n.subscribeAgain()
		}
		failures, last, asked = failures+1, time.Now(), false
		pause := min(newcomers<<min(failures-1, 4), time.Second)
		select {
		case <-n.kick: // somebody has left, perhaps the last one
		case <-time.After(pause - rand.N(pause/4+1)):
		}
	}
}

// subscribeAgain has the reader subscribe to all channels, on a connection that knows none of them.
func (n *Newsroom) subscribeAgain() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.listeners {
		n.changed[c] = true
	}
}

// changes returns which channels to subscribe to and which to leave, and whether nobody listens any more. In
// that last case the reader must end: the next listener starts another one.
func (n *Newsroom) changes() (come, gone []string, over bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.changed {
		if n.listeners[c] != nil {
			come = append(come, c)
		} else {
			gone = append(gone, c)
		}
	}
	clear(n.changed)
	n.reading = len(n.listeners) > 0
	return come, gone, !n.reading
}

// signal passes what was said on a channel to all who listen there. A listener that has a signal already gets
// no second one.
func (n *Newsroom) signal(channel, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for signal := range n.listeners[channel] {
		if n.said[signal] != nil {
			n.said[signal][text] = true
		}
		select {
		case signal <- struct{}{}:
		default: // it has one already
		}
	}
}
