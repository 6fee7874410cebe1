package lease

import (
	_ "embed"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Token is the fencing token of one lease: a new one is larger than every
// earlier one of the same subject. A store that remembers the largest token it
// saw, and refuses smaller ones, cannot be written to by a holder whose lease has
// passed on (Kleppmann, "How to do distributed locking", 2016).
type Token int64

// String is the decimal form, in which tokens travel.
func (t Token) String() string { return strconv.FormatInt(int64(t), 10) }

// ParseToken reads the decimal form.
func ParseToken(s string) (Token, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	return Token(n), err
}

// Lease is the right to one subject until a deadline, as its holder knows it.
type Lease struct {
	Subject subject.Key
	Token   Token
	Holder  string

	// Proven is the local time just before the request was sent that last
	// proved the lease; TTL is what that request asked for. Redis ends the
	// lease no earlier than Proven+TTL.
	Proven time.Time
	TTL    time.Duration
}

//go:embed fence.lua
var fenceLua string

//go:embed policy.lua
var policyLua string

//go:embed lease.lua
var leaseLua string

//go:embed park.lua
var parkLua string

//go:embed handover.lua
var handoverLua string

// Lua is the source that every script of dispatcher builds on: the gate for stale tokens, what operators hold, the one way into
// leases and out of them, and who comes next.
var Lua = fenceLua + "\n" + policyLua + "\n" + leaseLua + "\n" + parkLua + "\n" + handoverLua

// Store keeps the leases of one namespace in Redis. It is safe for concurrent use.
type Store struct {
	ns  subject.Namespace
	run *script.Runner
}

// NewStore returns the leases of a namespace. A nil now means Redis's clock,
// which production must use: then no two machines can disagree on a deadline.
func NewStore(rdb redis.UniversalClient, ns subject.Namespace, now func() time.Time) *Store {
	return &Store{ns: ns, run: script.NewRunner(rdb, ns, now)}
}
