package dispatcher

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"
)

// newsroom tells waiters that something may have happened to what they wait for. One
// subscription serves all of them, and none is there when nobody waits. What it says is a
// hint, and never the truth: waiters ask Redis, and do so now and then without a hint too.
type newsroom struct {
	rdb redis.UniversalClient

	mu        sync.Mutex
	sub       *redis.PubSub
	listeners map[string]map[chan struct{}]bool // by channel
}

// listen returns a channel that gets a signal when there is news on any of the channels of
// Redis that are named, and when the subscription to one of them has begun: what happened
// before that was not heard, so whoever waits must look then.
func (n *newsroom) listen(channels ...string) (heard <-chan struct{}, leave func()) {
	signal := make(chan struct{}, 1)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sub == nil {
		n.sub = n.rdb.Subscribe(context.Background())
		n.listeners = make(map[string]map[chan struct{}]bool)
		go n.read(n.sub.ChannelWithSubscriptions())
	}
	var fresh []string
	for _, c := range channels {
		if n.listeners[c] == nil {
			n.listeners[c], fresh = make(map[chan struct{}]bool), append(fresh, c)
		}
		n.listeners[c][signal] = true
	}
	if len(fresh) > 0 {
		_ = n.sub.Subscribe(context.Background(), fresh...) // it is repeated after a reconnect
	} else {
		signal <- struct{}{}
	}
	return signal, func() { n.leave(signal, channels) }
}

func (n *newsroom) leave(signal chan struct{}, channels []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var over []string
	for _, c := range channels {
		if delete(n.listeners[c], signal); len(n.listeners[c]) == 0 {
			delete(n.listeners, c)
			over = append(over, c)
		}
	}
	switch {
	case len(n.listeners) == 0:
		_ = n.sub.Close()
		n.sub = nil
	case len(over) > 0:
		_ = n.sub.Unsubscribe(context.Background(), over...)
	}
}

// read passes on what a subscription brings, until it is closed.
func (n *newsroom) read(from <-chan any) {
	for event := range from {
		switch e := event.(type) {
		case *redis.Subscription:
			if e.Kind == "subscribe" {
				n.signal(e.Channel)
			}
		case *redis.Message:
			n.signal(e.Channel)
		}
	}
}

func (n *newsroom) signal(channel string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for signal := range n.listeners[channel] {
		select {
		case signal <- struct{}{}:
		default: // it has one already
		}
	}
}
