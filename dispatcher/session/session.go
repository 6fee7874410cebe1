package session

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Session is one worker process's standing with a namespace, from start to stop: its holder name, its entry
// among the workers alive, and connections of its own for commands that must not wait behind other traffic. Its
// methods are safe for concurrent use.
//
// Its fields: who is the claimant with all its kinds, also those that it is blamed for; s.claimant() leaves
// these out. leases and beats send over the connection renewing, so a long trip delays neither a renewal nor a
// sign of life. waits, partOf and kindOf are made at the start and only read after it. leave ends subscriptions
// and tells watchLimits to end; Close calls it first.
type Session struct {
	d     *dispatcher.Dispatcher
	lanes *lanes.Namespace
	who   Claimant
	info  Worker // what it says of itself, but for its blame
	blame blame

	waiting  redis.UniversalClient // blocks for wake-ups
	renewing redis.UniversalClient
	leases   *lease.Store
	beats    *script.Runner    // for what must not wait either
	waits    [][]string        // keys to block on, those that one command can take together
	broken   []atomic.Bool     // by the same places: the last wait there has failed
	partOf   map[string]int    // partition of each key
	kindOf   map[string]string // kind of each key
	permits  permits
	policy   policy
	records  records
	watched  atomic.Pointer[map[subject.Key]bool]

	refunding sync.Mutex
	refunds   []*Claim // owed

	asked, slots <-chan struct{}
	leave        []func()
	over         chan struct{} // closed at the end
}

// maxBlock is how long a session blocks for a wake-up at most. Wake-ups are
// hints; what a lost one delays is delayed by no more than a pool's reaping.
const maxBlock = 10 * time.Second

// firstBlock is how long it blocks after a wait that has failed: its end says that Redis is back, which should not take long.
// Redis is told of blocking in whole seconds.
const firstBlock = time.Second

// NewHolder returns a holder name that no other process start has.
func NewHolder() string { return lanes.NewHolder() }

// Join starts a session: it writes the worker's entry, reads the limits that its claims are under, and
// subscribes to its hints. concurrency is only shown to operators. The session has connections of its own until
// [Session.Close]: two for renewals and signs of life, and one for waiting, with more in reserve for a cluster.
//
// The error is that of a claimant that breaks a rule, or that the first sign of life was not taken.
func Join(ctx context.Context, d *dispatcher.Dispatcher, who Claimant, concurrency int) (*Session, error) {
	s, err := newSession(d, who)
	if err != nil {
		return nil, err
	}
	s.info = describe(d, who, concurrency)
	s.waiting = connect.Dedicated(s.lanes.Redis, 1+s.lanes.Partitions, maxBlock+5*time.Second)
	s.renewing = connect.Dedicated(s.lanes.Redis, 2, min(who.TTL/3, 5*time.Second))
	s.leases, s.beats = s.lanes.Leases.Via(s.renewing), s.lanes.Scripts.Via(s.renewing)
	s.placeWaits()
	// A master of a cluster that is away keeps no session from the others: it beats when that is back,
	// and starts nothing meanwhile under limits that it can't read.
	if err := s.signOn(ctx); err != nil && !(connect.IsCluster(s.lanes.Redis) && errors.Is(err, dispatcher.ErrUnavailable)) {
		return nil, errors.Join(err, s.waiting.Close(), s.renewing.Close())
	}
	s.readLimits(ctx)
	s.imposeHolds(ctx)
	s.listen()
	return s, nil
}

// Bare returns a session that says nothing of itself and listens to nobody: it claims and reports as any other
// does, under the same limits, and needs no [Session.Close]. It is for tests of what runs above sessions. It
// has no connections of its own: Renew, Wait, Beat, Blame and Record are not for it.
func Bare(ctx context.Context, d *dispatcher.Dispatcher, who Claimant) (*Session, error) {
	s, err := newSession(d, who)
	if err == nil {
		s.readLimits(ctx)
	}
	return s, err
}

// newSession makes what every session has, without a word to Redis: nobody has heard of it yet. Turns work with
// it once its limits are read.
func newSession(d *dispatcher.Dispatcher, who Claimant) (*Session, error) {
	if err := who.validate(); err != nil {
		return nil, err
	}
	s := &Session{d: d, lanes: d.Engine(), who: who, over: make(chan struct{})}
	s.who.ranks = newRanks(d, who.Kinds)
	s.permits.asking, s.permits.recovery = make(map[shortOf]bool), make(chan struct{}, 1)
	s.records.turn = make(chan struct{}, 1)
	s.policy.changed = make(chan struct{}, 1)
	return s, nil
}

// describe makes the entry by which those who list workers see the session. Versions are those of the
// declarations that this process knows, so an operator sees which worker is behind. The entry is fixed for the
// session's life, but for its blame.
func describe(d *dispatcher.Dispatcher, who Claimant, concurrency int) Worker {
	host, _ := os.Hostname()
	versions := make(map[string]int)
	for _, kind := range who.Kinds {
		if k, ok := d.Declared(kind); ok {
			versions[kind] = k.Version
		}
	}
	return Worker{
		Holder: who.Holder, Host: host, PID: os.Getpid(), Kinds: who.Kinds, Pool: who.Pool, Versions: versions, Obeys: true,
		Concurrency: concurrency, LeaseTTL: who.TTL.String(), StartedAt: time.Now().UTC().Truncate(time.Millisecond),
	}
}

// placeWaits decides where the session waits for hints, and by which keys: see [Session.Waits]. One BZPOPMIN
// takes the wake-up keys of all partitions on a single server, and of one partition on a cluster, where two
// partitions have no hash slot in common.
func (s *Session) placeWaits() {
	s.partOf, s.kindOf = make(map[string]int), make(map[string]string)
	for p := range s.lanes.Partitions {
		if p == 0 || connect.IsCluster(s.lanes.Redis) {
			s.waits = append(s.waits, nil)
		}
		wait := &s.waits[len(s.waits)-1]
		for _, kind := range s.who.Kinds {
			key := s.lanes.Keys(p).Wake(kind)
			*wait = append(*wait, key)
			s.partOf[key], s.kindOf[key] = p, kind
		}
	}
	s.broken = make([]atomic.Bool, len(s.waits))
}

// listen begins to hear four things: what is asked of the session's holder, what limits offer it, that
// limits have changed, and that holds have. Close ends that. The four share one subscription. For offers the text is kept too,
// because it says which partition they are for ([Session.Offered]).
func (s *Session) listen() {
	var asked, slots []string
	for p := range s.lanes.Partitions {
		news := s.lanes.Keys(p).News
		asked, slots = append(asked, news(s.who.Holder)), append(slots, news(s.who.Holder+"/slots"))
	}
	heard, leave := s.lanes.News.ListenToEach(asked, slots, []string{s.lanes.LimitNews()}, []string{s.lanes.PolicyNews()})
	s.asked, s.slots = heard[0], heard[1]
	s.lanes.News.Keep(s.slots)
	go s.watchLimits(heard[2])
	go s.watchPolicy(heard[3])
	s.leave = append(leave, sync.OnceFunc(func() { close(s.over) }))
}

// Partitions returns the number of partitions a worker serves.
func (s *Session) Partitions() int { return s.lanes.Partitions }

// Turns makes one trip, with one turn for each partition that it is about, and returns an answer for each turn
// in their order; each answer has its own errors. On one server all turns share a round trip; on a cluster each
// partition has its own, at the same time, so one that is away fails no other.
//
// Where the session is blamed for a kind and may try a lane of it, that try goes first and by itself. When
// there is no such lane, that turn's room goes to the other kinds.
func (s *Session) Turns(ctx context.Context, turns []Turn) []TurnReply {
	// A kind that is tried after a blame goes alone: were it one of several, the first lane might be of another
	// kind, and the try would say nothing.
	if who, at := s.prober(turns); who != nil {
		one := turns[at]
		one.Want, one.InHand = 1, nil // a lane whose hand it would fill is no single try
		tried := s.turnsOf(ctx, who, []Turn{one})[0]
		left := s.claimant()        // its other kinds
		if len(tried.Claims) == 0 { // no lane was ready there
			s.Absolve(who.Kinds[0], true)
		} else {
			s.standAside(ctx, s.under(&left)) // what it tries next is another probe
		}
		others := s.Turns(ctx, slices.Delete(slices.Clone(turns), at, at+1))
		switch {
		case len(left.Kinds) == 0 || tried.Err != nil:
		case len(tried.Claims) > 0:
			tried.Ready = max(tried.Ready, 1) // nobody has looked for them there
		default: // the room is for them: it may try in vain for long
			rest := s.turnsOf(ctx, &left, []Turn{{Partition: one.Partition, Claim: true, Want: turns[at].Want}})[0]
			tried.Claims, tried.Ready, tried.Err = rest.Claims, rest.Ready, rest.Err
			tried.Short = tried.Short || rest.Short
			if rest.Later > 0 && (tried.Later == 0 || rest.Later < tried.Later) {
				tried.Later = rest.Later
			}
		}
		return slices.Insert(others, at, tried)
	}
	if len(turns) == 0 {
		return nil
	}
	who := s.claimant()
	return s.turnsOf(ctx, &who, turns)
}

// turnsOf makes the turns of one claimant: in steps when it is under limits, or when a job ends that ran under
// one, because its slots go back in a step of their own; otherwise in one round trip.
func (s *Session) turnsOf(ctx context.Context, who *Claimant, turns []Turn) []TurnReply {
	limits := s.under(who)
	if len(limits) > 0 || slices.ContainsFunc(turns, Turn.returnsSlots) { // of a limit that is no more
		return s.permitted(ctx, who, limits, turns)
	}
	return s.turns(ctx, who, turns)
}

// Slots gets a signal when a limit that the session was short of offers more: see [Session.Offered].
func (s *Session) Slots() <-chan struct{} { return s.slots }

// Offered returns the partitions for whose lanes limits have offered starts since it was asked last; nil when
// that is not known, and it may be any. An offer that is not asked for within 100 ms passes to the next in line
// (parts/short.lua), so ask at once.
func (s *Session) Offered() []int {
	var partitions []int
	for text := range s.lanes.News.Take(s.slots) {
		p, err := strconv.Atoi(text)
		if err != nil || p < 0 || p >= s.lanes.Partitions {
			return nil
		}
		partitions = append(partitions, p)
	}
	return partitions
}

// Asked gets a signal when an operator may have asked something of the session's holder,
// which renewing its leases tells.
func (s *Session) Asked() <-chan struct{} { return s.asked }

// Renew renews leases on the session's own connection, to ttl from now, of lanes and slots alike. The error at
// an index is nil, lease.ErrCancelled for a lease that is renewed and whose job an operator wants ended,
// lease.ErrLost, or that nothing is known of that lease.
func (s *Session) Renew(ctx context.Context, ttl time.Duration, leases ...lease.Lease) []error {
	return s.leases.Renew(ctx, ttl, leases...)
}

// Hint says where there may be something to do. It is never the truth about it: whoever gets one asks with a
// turn.
type Hint struct {
	Partition int
	Due       bool // something falls due earlier than was known
}

// Waits is in how many places a session waits for hints: on a cluster each partition
// is one, for one command can't block on keys of several servers.
func (s *Session) Waits() int { return len(s.waits) }

// Wait blocks until there is a hint for the session's kinds in a place, ten seconds at most, and one second after a wait
// that has failed; one waiting session is woken for one hint. ok is false when the wait ended without one. When ctx ends, Wait returns at
// once and the session can't wait any more. It waits for an answer of Redis as long as its client does,
// half a minute at most.
//
// A session whose kinds are all blamed has nothing to wait for, and pauses for [BeatEvery] instead.
func (s *Session) Wait(ctx context.Context, place int) (hint Hint, ok bool, err error) {
	own := func(key string) bool { return s.waitsFor(s.kindOf[key]) }
	wakes := slices.DeleteFunc(slices.Clone(s.waits[place]), func(key string) bool { return !own(key) })
	if len(wakes) == 0 {
		select { // there may be kinds again
		case <-ctx.Done():
		case <-time.After(BeatEvery):
		}
		return Hint{}, false, ctx.Err()
	}
	// Cancelling a context does not interrupt a blocked read; closing does. Therefore the end of ctx ends the
	// session's waiting for good.
	stop := context.AfterFunc(ctx, func() { _ = s.waiting.Close() })
	defer stop()
	first := rand.IntN(len(wakes)) // no partition is always looked at first
	keys := slices.Concat(wakes[first:], wakes[:first])
	block := maxBlock
	if s.broken[place].Load() {
		block = firstBlock
	}
	woken, err := connect.AskFor(ctx, 3*maxBlock, func(ctx context.Context) (*redis.ZWithKey, error) {
		return s.waiting.BZPopMin(context.WithoutCancel(ctx), block, keys...).Result()
	})
	s.broken[place].Store(err != nil && !errors.Is(err, redis.Nil))
	switch {
	case ctx.Err() != nil:
		return Hint{}, false, ctx.Err()
	case errors.Is(err, redis.Nil):
		return Hint{}, false, nil
	case err != nil:
		connect.Reload(ctx, s.waiting)
		return Hint{}, false, fmt.Errorf("wait for wake-up: %w", err)
	}
	if is, _ := s.holdsKind(s.kindOf[woken.Key]); is && own(woken.Key) {
		return Hint{}, false, nil // nobody may have it, and when that is over everybody looks
	}
	if !own(woken.Key) { // it is for those who are not blamed for the kind, or not held from it
		_, err := connect.Ask(ctx, func(ctx context.Context) (int64, error) {
			return s.waiting.ZAddNX(ctx, woken.Key, woken.Z).Result()
		})
		return Hint{}, false, lanes.Wrap("pass a wake-up on", err)
	}
	return Hint{Partition: s.partOf[woken.Key], Due: woken.Member == "due"}, true, nil
}

// Close ends the session: it no longer listens, gives back starts whose answer got lost and its places in line,
// and the worker is no longer listed. Leases that it still has are left to expire. It returns what kept the
// worker listed, or a connection open.
func (s *Session) Close(ctx context.Context) error {
	for _, leave := range s.leave {
		leave()
	}
	s.recoverLast(ctx)
	s.standAside(ctx, nil)
	err := s.signOff(ctx)
	for _, rdb := range []redis.UniversalClient{s.waiting, s.renewing} {
		if e := rdb.Close(); e != nil && !errors.Is(e, redis.ErrClosed) {
			err = errors.Join(err, e)
		}
	}
	return err
}
