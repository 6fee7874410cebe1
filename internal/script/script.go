// Package script runs Lua scripts on one partition of a namespace, or on what belongs to none ([Runner.Whole]): it lays out
// the keys and arguments that all scripts share, sends scripts together in one
// round trip, repairs a lost script cache, and numbers requests so that one that
// go-redis repeats after a lost reply is answered from memory instead of run again.
//
// The numbering is the session table of replicated state machines (Ongaro,
// "Consensus: Bridging Theory and Practice", 6.3): a caller has one request in
// flight, Redis remembers the caller's last number and reply, an equal number
// gets that reply, a lower one is refused.
package script

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// ErrStale is returned when a request arrives after a later one of the same
// caller, as a packet delayed in the network does. It had no effect.
var ErrStale = errors.New("script: request overtaken by a later one of the same caller")

// Script is one verb's Lua source with the shared sources it builds on.
type Script struct {
	Name string
	lua  func() source
}

// source is what Redis runs, and the digest that it goes by there.
type source struct{ text, sha string }

// Alter is nil but in tests, which set it before any script is called: it returns what runs in place
// of a source, so that it is seen whether other tests notice a defect.
var Alter func(source string) string

//go:embed partition.lua
var partitionLua string

//go:embed whole.lua
var wholeLua string

//go:embed clock.lua
var clockLua string

//go:embed request.lua
var requestLua string

//go:embed acts.lua
var actsLua string

// New makes a script for partitions of its own source and, before it, those functions of the shared
// sources that it uses; the forms of what is stored, the names of the keys, the clock, the memory of
// requests and the log of acts are shared by all. They are put together when the script is first called: a process
// calls few of all, and one that only prints its version calls none.
func New(name, source string, shared ...string) *Script {
	return from(name, source, append([]string{record.Lua, partitionLua, clockLua, requestLua, actsLua}, shared...))
}

// NewWhole makes a script for [Runner.Whole].
func NewWhole(name, source string) *Script {
	return from(name, source, []string{record.Lua, wholeLua, clockLua, actsLua})
}

func from(name, own string, shared []string) *Script {
	return &Script{Name: name, lua: sync.OnceValue(func() source {
		return put(own, shared...)
	})}
}

// put puts a script's sources together.
func put(own string, shared ...string) source {
	if Alter != nil {
		own, shared = Alter(own), slices.Clone(shared)
		for i := range shared {
			shared[i] = Alter(shared[i])
		}
	}
	text := link(own, shared...)
	return source{text, redis.NewScript(text).Hash()}
}

// Runner makes and runs calls on the partitions of one namespace. It is safe
// for concurrent use.
type Runner struct {
	rdb        redis.UniversalClient
	cluster    bool
	successor  bool // a server that is away may have one
	now        func() time.Time
	partitions []layout
	spare      chan func() // rides, to goroutines that rest

	name  string // unique per Runner, start of its callers' names
	mu    sync.Mutex
	idle  []*Caller
	count int
}

// whole stands for a partition where a call is about what belongs to none.
const whole = -1

// layout is what all calls on one partition share.
type layout struct {
	fixed             []any // keys that every script gets
	keys              subject.Keys
	ready, wake, tail string
}

// Caller makes requests one after the other, and has at most one in flight that anybody waits for.
// Whoever has a caller of his own can give a request up by making the next one: the earlier one,
// if it is still on its way, has no effect then ([ErrStale]).
type Caller struct {
	r      *Runner
	name   string
	number int64

	// Under the mutex of r: requests that may still be on their way, and how many have the caller for
	// themselves. It is idle when neither is left.
	flights, owners int
}

// NewRunner returns a Runner. A nil now leaves the time to Redis, as production
// must; tests pass a clock.
func NewRunner(rdb redis.UniversalClient, ns subject.Namespace, now func() time.Time) *Runner {
	r := &Runner{now: now}
	for p := range ns.Partitions {
		k := ns.Keys(p)
		l := layout{keys: k, ready: k.Ready(""), wake: k.Wake(""), tail: k.Tail("")}
		for _, key := range k.Fixed() {
			l.fixed = append(l.fixed, key)
		}
		r.partitions = append(r.partitions, l)
	}
	return r.Via(rdb)
}

// Via returns a Runner like r that sends on another client, for calls that must
// not wait behind r's.
func (r *Runner) Via(rdb redis.UniversalClient) *Runner {
	return &Runner{
		spare: make(chan func()), rdb: rdb, cluster: connect.IsCluster(rdb), successor: connect.IsCluster(rdb) || connect.FollowsSentinels(rdb), now: r.now, partitions: r.partitions,
		name: strings.ReplaceAll(uuid.NewString(), "-", "")[:16],
	}
}

// Call is one script to be run once on one partition.
type Call struct {
	script *Script
	part   int
	keys   int   // how many of
	args   []any // are keys, which stand in front
	caller *Caller
	reply  *redis.StringSliceCmd
	err    error // of the trip

	// Acked is how many replicas had what the call wrote, when that was asked for.
	Acked int
}

// Once makes a call whose repetition is recognized and answered from memory.
func (r *Runner) Once(partition int, s *Script, keys []string, args ...any) *Call {
	return r.take(0).Once(partition, s, keys, args...)
}

// Caller returns a caller for the asker alone, until [Caller.Rest].
func (r *Runner) Caller() *Caller { return r.take(1) }

func (r *Runner) take(owners int) *Caller {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.idle) == 0 {
		r.idle = append(r.idle, &Caller{r: r, name: r.name + "." + strconv.Itoa(r.count)})
		r.count++
	}
	c := r.idle[len(r.idle)-1]
	r.idle = r.idle[:len(r.idle)-1]
	c.owners = owners
	return c
}

// Once makes the caller's next call.
func (c *Caller) Once(partition int, s *Script, keys []string, args ...any) *Call {
	c.r.mu.Lock()
	c.number, c.flights = c.number+1, c.flights+1
	number := c.number
	c.r.mu.Unlock()
	call := c.r.call(partition, s, c.name, strconv.FormatInt(number, 10), keys, args)
	call.caller = c
	return call
}

// Again makes a call of the caller ready to be sent once more, as it is: what it did before has one
// effect, and it gets the answer that it missed. It must be the caller's last one.
func (c *Caller) Again(call *Call) *Call {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.flights++
	return call
}

// Keep has the caller stay with who goes on with it when others give it back: each has to.
func (c *Caller) Keep() {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.owners++
}

// insistAgain is how long after a failure what is insisted on is said again.
const insistAgain = 250 * time.Millisecond

// Insist sends the caller's last call beside its caller, and again after each failure of Redis's, for so long: it is for what
// must be said though nobody waits. said is closed when Redis has answered, or the time is over.
func (c *Caller) Insist(call *Call, most time.Duration) (said <-chan struct{}) {
	done := make(chan struct{})
	c.Keep()
	go func() {
		defer close(done)
		defer c.Rest()
		for gone := time.Now().Add(most); ; {
			c.r.Ride(context.Background(), call)
			if _, err := call.Words(); !errors.Is(err, connect.ErrUnavailable) || time.Now().After(gone) {
				return
			}
			time.Sleep(insistAgain)
			call = c.Again(call)
		}
	}()
	return done
}

// Rest gives the caller back, who makes no more calls.
func (c *Caller) Rest() {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.owners--
	c.restLocked()
}

func (c *Caller) restLocked() {
	if c.flights == 0 && c.owners == 0 {
		c.r.idle = append(c.r.idle, c)
	}
}

// Plain makes a call that does no harm when it is repeated.
func (r *Runner) Plain(partition int, s *Script, keys []string, args ...any) *Call {
	return r.call(partition, s, "", "", keys, args)
}

// Whole makes a call of a script that [NewWhole] made. The keys are all that it gets, in one hash slot, and repeating it
// must do no harm.
func (r *Runner) Whole(s *Script, keys []string, args ...any) *Call {
	all := appendPointers(make([]any, 0, len(keys)+5+len(args)), keys)
	return &Call{script: s, part: whole, keys: len(keys), args: append(append(all, r.nowArg(), "", "", "", ""), args...)}
}

func (r *Runner) call(partition int, s *Script, name, number string, keys []string, args []any) *Call {
	l := &r.partitions[partition]
	all := make([]any, 0, len(l.fixed)+2+len(keys)+5+len(args))
	all = appendPointers(append(append(all, l.fixed...), l.keys.Request(name)), keys)
	if r.cluster {
		// While a slot moves, a server refuses (TRYAGAIN) a script of whose declared
		// keys one is missing, before it runs. Without this key a script could run half,
		// and stop at an undeclared key that has moved already.
		all = append(all, l.keys.Request("")) // no caller is named so: it never exists
	}
	n := len(all)
	all = append(append(all, r.nowArg(), number, l.ready, l.wake, l.tail), args...)
	return &Call{script: s, part: partition, keys: n, args: all}
}

// appendPointers appends strings as arguments of a command, where a pointer stands for its string: to make an interface of each
// would allocate.
func appendPointers(args []any, words []string) []any {
	for i := range words {
		args = append(args, &words[i])
	}
	return args
}

func (r *Runner) nowArg() string {
	if r.now == nil {
		return ""
	}
	return strconv.FormatInt(r.now().UnixMilli(), 10)
}

// Words returns the call's reply, a flat list of strings and numbers that starts with
// a status word. It returns [ErrStale], or an error that wraps what Redis said, or
// connect.ErrUnavailable, or that the caller's context has ended.
func (c *Call) Words() ([]string, error) {
	if c.err != nil {
		return nil, fmt.Errorf("%s: %w", c.script.Name, c.err)
	}
	words, err := c.reply.Result()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.script.Name, err)
	}
	if len(words) > 0 && words[0] == "stale" {
		return nil, fmt.Errorf("%s: %w", c.script.Name, ErrStale)
	}
	return words, nil
}
