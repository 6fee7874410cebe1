package dispatcher

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Kind declares a job kind: what its jobs are, whose they are, and by which rules they run.
// Declared kinds are registered in Redis by [Open] and [Connect], and from then on the namespace
// takes no others, whoever enqueues: a name that is misspelt, or that two teams use, is found at
// start-up and not at night. Name and Owner are required; a zero field leaves its rule out.
//
// A process goes by the declarations that were registered when it opened the namespace.
type Kind struct {
	Name        string `json:"name" yaml:"name"`
	Owner       string `json:"owner" yaml:"owner"`               // team or program; letters, digits and _ . / : -
	Subject     string `json:"subject,omitempty" yaml:"subject"` // kind that subjects of its jobs must be of
	Description string `json:"description,omitempty" yaml:"description"`

	MaxAttempts int           `json:"max_attempts,omitempty" yaml:"max_attempts"`
	Timeout     time.Duration `json:"timeout,omitempty" yaml:"timeout"`
	Backoff     Backoff       `json:"backoff,omitzero" yaml:"backoff"` // the pool's, when zero

	// OnFailure is what a lane does whose head fails. Defaults to [Block].
	OnFailure Policy `json:"on_failure,omitempty" yaml:"on_failure"`

	// Unique has the rules for jobs of this kind that set a [NewJob.Unique]. Its Key is not used.
	Unique *Unique `json:"unique,omitempty" yaml:"unique"`

	// Keep is how long outcomes can be read.
	Keep time.Duration `json:"keep,omitempty" yaml:"keep"`

	// DeadKeep is how long dead letters of this kind stay, and DeadMax how many do, in the whole
	// namespace: the newest. Pools remove the others, within some minutes. Zero keeps all, for good.
	// They stand beside the declaration, and not in its JSON.
	DeadKeep time.Duration `json:"-" yaml:"dead_keep"`
	DeadMax  int           `json:"-" yaml:"dead_max"`

	// Pool says which pools run jobs of this kind: those of this name. Defaults to "default".
	Pool string `json:"pool,omitempty" yaml:"pool"`

	// Limit is the most jobs of this kind that run at once, and Every the least time between
	// two starts of such, both across all processes.
	Limit int           `json:"limit,omitempty" yaml:"limit"`
	Every time.Duration `json:"every,omitempty" yaml:"every"`

	// Priority is who is served first among the kinds of a pool, 0 to 9, the highest first.
	// Never inside a lane. A kind counts one more for every 10 s in which it got nothing
	// (Aging in package dispatcher/session).
	Priority int `json:"priority,omitempty" yaml:"priority"`

	// Expected is how long a job takes, as long as none was measured.
	Expected time.Duration `json:"expected,omitempty" yaml:"expected"`

	// Loggable are the fields of a payload, a JSON object, that may be shown. Of all others
	// only size and digest are.
	Loggable []string `json:"loggable,omitempty" yaml:"loggable"`

	// NoPage says that nobody is to be woken for this kind.
	NoPage bool `json:"no_page,omitempty" yaml:"no_page"`
}

// Policy is what a lane does whose head fails.
type Policy string

// The policies. Block: the head is tried again in its place, the lane waits; out of attempts
// it becomes a dead letter and the lane goes on. Skip: it is set aside at its first failure,
// the lane goes on, and it comes back to the tail after its backoff. Halt: like Block, but
// out of attempts it stays head and the lane stands still until [Dispatcher.Resume] or
// [Dispatcher.Skip].
const (
	Block Policy = "block"
	Skip  Policy = "skip"
	Halt  Policy = "halt"
)

const (
	// DefaultPool is the pool of kinds that declare none.
	DefaultPool = "default"

	maxPriority = 9
	maxLimit    = 1000
)

func (k *Kind) validate() error {
	if err := CheckKind(k.Name); err != nil {
		return err
	}
	bad := func(field string, value any, rule string) error {
		return invalid("kind "+k.Name+": "+field, value, rule)
	}
	if err := CheckKind(k.Owner); err != nil {
		return bad("owner", k.Owner, "must be set: 1 to 64 letters, digits and _ . / : -")
	}
	if k.Pool != "" && subject.CheckName(k.Pool) != nil {
		return bad("pool", k.Pool, "may hold 1 to 64 letters, digits and _ . -")
	}
	// The registry is JSON, which would replace what is not UTF-8 without a word.
	for field, texts := range map[string][]string{"subject": {k.Subject}, "description": {k.Description}, "loggable": k.Loggable} {
		for _, text := range texts {
			if !utf8.ValidString(text) {
				return bad(field, text, "must be UTF-8")
			}
		}
	}
	switch {
	case k.MaxAttempts < 0 || k.MaxAttempts > math.MaxInt32:
		return bad("max_attempts", k.MaxAttempts, attemptsRule)
	case k.Timeout < 0 || k.Timeout > maxWait:
		return bad("timeout", k.Timeout, "must be 0s to 100 years")
	case k.Timeout > 0 && k.Timeout < time.Millisecond:
		return bad("timeout", k.Timeout, "must be at least 1ms")
	case k.Backoff.Base < 0 || k.Backoff.Cap < k.Backoff.Base || k.Backoff.Cap > maxWait:
		return bad("backoff", k.Backoff, "must have 0s <= base <= cap <= 100 years")
	case k.OnFailure != "" && k.OnFailure != Block && k.OnFailure != Skip && k.OnFailure != Halt:
		return bad("on_failure", k.OnFailure, "must be block, skip or halt")
	case k.Keep < 0 || k.Keep > maxKeep:
		return bad("keep", k.Keep, "must be 0s to 30 days")
	case k.Keep > 0 && k.Keep < time.Millisecond:
		return bad("keep", k.Keep, "must be at least 1ms")
	case k.DeadKeep < 0 || k.DeadKeep > maxWait || k.DeadKeep > 0 && k.DeadKeep < time.Second:
		return bad("dead_keep", k.DeadKeep, "must be 0s, or 1s to 100 years")
	case k.DeadMax < 0 || k.DeadMax > math.MaxInt32:
		return bad("dead_max", k.DeadMax, fmt.Sprintf("must be 0 to %d", math.MaxInt32))
	case k.Limit < 0 || k.Limit > maxLimit:
		return bad("limit", k.Limit, fmt.Sprintf("must be 1 to %d", maxLimit))
	case k.Every < 0 || k.Every > 0 && k.Every < time.Millisecond || k.Every > maxWait:
		return bad("every", k.Every, "must be at least 1ms")
	case k.Priority < 0 || k.Priority > maxPriority:
		return bad("priority", k.Priority, fmt.Sprintf("must be 0 to %d", maxPriority))
	case k.Expected < 0 || k.Expected > maxWait:
		return bad("expected", k.Expected, "must not be negative")
	}
	if err := k.Unique.validate(); err != nil {
		return fmt.Errorf("kind %s: %w", k.Name, err)
	}
	return nil
}

// pool is the name of the kind's pool.
func (k *Kind) pool() string { return cmp.Or(k.Pool, DefaultPool) }

// Shown returns those fields of a payload that may be shown, as JSON texts: of one that is a
// JSON object the fields that are declared loggable, and of any other none.
func (k *Kind) Shown(payload []byte) map[string]string {
	var fields map[string]json.RawMessage
	if len(k.Loggable) == 0 || json.Unmarshal(payload, &fields) != nil {
		return nil
	}
	shown := make(map[string]string)
	for _, name := range k.Loggable {
		if value, ok := fields[name]; ok {
			shown[name] = string(value)
		}
	}
	return shown
}

// declared fills in what a job's kind declares of it.
func (d *Dispatcher) declared(job NewJob) (NewJob, error) {
	kind, ok := d.registry[job.Kind]
	switch {
	case !ok && len(d.registry) > 0 && CheckKind(job.Kind) == nil:
		return job, fmt.Errorf("%w: %s; declared are %s", ErrUndeclared, job.Kind, strings.Join(slices.Sorted(maps.Keys(d.registry)), ", "))
	case ok && kind.Subject != "" && kind.Subject != job.Subject.Kind:
		return job, invalid("subject", job.Subject, fmt.Sprintf("must be of the kind %s, as %s declares", kind.Subject, kind.Name))
	}
	job.MaxAttempts = cmp.Or(job.MaxAttempts, kind.MaxAttempts)
	job.Timeout = cmp.Or(job.Timeout, kind.Timeout)
	job.Keep = cmp.Or(job.Keep, kind.Keep)
	job.policy = kind.OnFailure
	job.Unique = job.Unique.withDefaults(kind.Unique)
	return job.withDefaults(), nil
}

// DeclaredKind is a kind as it is registered.
type DeclaredKind struct {
	Kind
	Version int `json:"version"` // counts its changes
}

// Prunes is for package dispatcher/session: it reports whether a kind was declared to keep its dead letters no longer,
// or no more of them, when d was opened.
func (d *Dispatcher) Prunes() bool {
	for _, k := range d.registry {
		if k.DeadKeep > 0 || k.DeadMax > 0 {
			return true
		}
	}
	return false
}

// Declared returns the kind that was registered when d was opened, if any.
func (d *Dispatcher) Declared(name string) (DeclaredKind, bool) {
	k, ok := d.registry[name]
	return k, ok
}

// CheckHandled is for package worker, and others that run pools. It returns an error that wraps
// [ErrUndeclared] when kinds are declared and this one is not among them, and one that wraps
// [ErrInvalid] when it is declared for another pool.
func (d *Dispatcher) CheckHandled(kind, pool string) error {
	k, ok := d.registry[kind]
	switch {
	case !ok && len(d.registry) > 0:
		return fmt.Errorf("%w: %s; declared are %s", ErrUndeclared, kind, strings.Join(slices.Sorted(maps.Keys(d.registry)), ", "))
	case ok && k.pool() != cmp.Or(pool, DefaultPool):
		return invalid("kind", kind, fmt.Sprintf("is declared for the pool %s, and this one is %s", k.pool(), cmp.Or(pool, DefaultPool)))
	}
	return nil
}

// Kinds reads the registry, with two commands, and returns what is declared now, sorted by name. The list
// is empty, and not nil, when nothing is.
func (d *Dispatcher) Kinds(ctx context.Context) ([]DeclaredKind, error) {
	kinds, err := readRegistry(ctx, d.lanes)
	if err != nil {
		return nil, err
	}
	all := slices.AppendSeq(make([]DeclaredKind, 0, len(kinds)), maps.Values(kinds))
	slices.SortFunc(all, func(a, b DeclaredKind) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Undeclare takes a kind out of the registry, and its limit with it. When it was the last one,
// any kind goes again. Jobs of it stay, and processes that know it go on. It returns
// [ErrNotFound] for one that is not declared.
func (d *Dispatcher) Undeclare(ctx context.Context, name string) error {
	did, text, err := d.lanes.Undeclare(ctx, name, "")
	if err == nil && did == "missing" {
		return fmt.Errorf("%w: kind %s is not declared", ErrNotFound, name)
	}
	if err == nil { // before it goes, so that a repeat finds the kind when this went wrong
		version, _ := strconv.Atoi(text)
		err = d.lanes.WriteLimits(ctx, map[string]record.Limit{lanes.KindLimit(name): {Version: version}})
	}
	if err == nil {
		did, _, err = d.lanes.Undeclare(ctx, name, text)
	}
	if err == nil && did == "again" {
		err = errors.New("it was declared anew meanwhile")
	}
	return lanes.Wrap("undeclare kind "+name, err)
}

// readRegistry returns the registered kinds by name.
func readRegistry(ctx context.Context, ns *lanes.Namespace) (map[string]DeclaredKind, error) {
	records, err := connect.Ask(ctx, func(ctx context.Context) (map[string]string, error) {
		return ns.Redis.HGetAll(ctx, ns.Registry()).Result()
	})
	if err != nil {
		return nil, lanes.Wrap("read the registry of kinds", err)
	}
	kinds := make(map[string]DeclaredKind, len(records))
	for name, text := range records {
		var k DeclaredKind
		version, declared, err := record.ParseDeclaration(text)
		if err == nil {
			err = json.Unmarshal([]byte(declared), &k.Kind)
		}
		if err != nil || k.Name != name {
			return nil, garbledKind(name)
		}
		k.Version = version
		kinds[name] = k
	}
	return kinds, readRetention(ctx, ns, kinds)
}

// readRetention adds what stands beside the declarations.
func readRetention(ctx context.Context, ns *lanes.Namespace, kinds map[string]DeclaredKind) error {
	if len(kinds) == 0 {
		return nil
	}
	names, fields := slices.Sorted(maps.Keys(kinds)), []string{}
	for _, name := range names {
		fields = append(fields, record.RetentionField(name))
	}
	texts, err := ns.Fields(ctx, ns.Versions(), fields)
	if err != nil {
		return lanes.Wrap("read the registry of kinds", err)
	}
	for i, name := range names {
		text, _ := texts[i].(string)
		if r, ok := record.ParseRetention(text); ok { // what can't be read removes nothing
			k := kinds[name]
			k.DeadKeep, k.DeadMax = r.Keep, r.Most
			kinds[name] = k
		}
	}
	return nil
}

func garbledKind(name string) error {
	return fmt.Errorf("%w: the registry's record of kind %s can't be read: a newer release may have written it", ErrMismatch, name)
}

// register writes declarations into the registry, and the limits where they are enforced.
func (d *Dispatcher) register(ctx context.Context) error {
	seen := make(map[string]bool)
	var kinds []lanes.Declaration
	limits := make(map[string]record.Limit)
	for i := range d.cfg.Kinds {
		k := &d.cfg.Kinds[i]
		if err := k.validate(); err != nil {
			return err
		}
		if seen[k.Name] {
			return invalid("kind", k.Name, "is declared twice")
		}
		seen[k.Name] = true
		text, err := json.Marshal(k)
		if err != nil {
			return fmt.Errorf("declare kind %s: %w", k.Name, err)
		}
		kinds = append(kinds, lanes.Declaration{
			Kind: k.Name, Owner: k.Owner, JSON: text, Retention: record.Retention{Keep: k.DeadKeep, Most: k.DeadMax},
		})
	}
	for pool, most := range d.cfg.PoolLimits {
		if subject.CheckName(pool) != nil || most < 1 || most > maxLimit {
			return invalid("limit of pool "+pool, most, fmt.Sprintf("must be 1 to %d, and the name letters, digits and _ . -", maxLimit))
		}
		limits[lanes.PoolLimit(pool)] = record.Limit{Most: most}
	}
	if len(kinds) > 0 {
		versions, err := d.lanes.Register(ctx, kinds)
		var owner *lanes.OwnerError
		var garbled *lanes.GarbledError
		switch {
		case errors.As(err, &owner):
			return fmt.Errorf("%w: %w", ErrOwner, owner)
		case errors.As(err, &garbled):
			return garbledKind(garbled.Kind)
		case err != nil:
			return fmt.Errorf("register kinds: %w", err)
		}
		for i, k := range d.cfg.Kinds {
			limits[lanes.KindLimit(k.Name)] = record.Limit{Most: k.Limit, Every: k.Every, Version: versions[i]}
		}
	}
	return d.lanes.WriteLimits(ctx, limits)
}
