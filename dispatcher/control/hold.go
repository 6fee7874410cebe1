package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Control sets and releases holds of one namespace. It is safe for concurrent use.
type Control struct {
	d     *dispatcher.Dispatcher
	lanes *lanes.Namespace
}

// New returns the control of an opened namespace.
func New(d *dispatcher.Dispatcher) *Control { return &Control{d, d.Engine()} }

// Scope is what sort of thing a hold is about.
type Scope string

// The scopes. Name is that of the kind, the pool or the host, and empty of All; of Lanes it is a subject, or the beginning of
// subjects with a * behind it.
const (
	All   Scope = "all"
	Kind  Scope = "kind"
	Pool  Scope = "pool"
	Host  Scope = "host"
	Lanes Scope = "lane"
)

// Hold is a rule that keeps starts back.
type Hold struct {
	ID     string   `json:"id"` // "H-7"; given by [Control.Hold]
	Scope  Scope    `json:"scope"`
	Name   string   `json:"name,omitempty"`
	Except []string `json:"except,omitempty"` // kinds that it lets pass

	Reason string    `json:"reason"` // one line, 1 to 512 bytes
	By     string    `json:"by,omitempty"`
	Since  time.Time `json:"since"`            // by Redis's clock
	Until  time.Time `json:"until,omitzero"`   // when it ends by itself; zero is when it is released
	Forced bool      `json:"forced,omitempty"` // it was set though workers lived that do not obey it
}

// about is what is stored of a hold besides its line of the policy.
type about struct {
	Reason string `json:"reason"`
	By     string `json:"by,omitempty"`
	Since  int64  `json:"since_ms"`
	Forced bool   `json:"forced,omitempty"`
}

// maxReason is how many bytes a reason may have.
const maxReason = 512

// DisobeyError is returned for a hold when workers live whose release knows of none, and would claim what it bars: stop
// them first, or set Forced.
type DisobeyError struct{ Holders []string }

func (e *DisobeyError) Error() string {
	return "workers of an earlier release do not obey holds: " + strings.Join(e.Holders, ", ")
}

// Hold sets a hold, and returns it with its ID and Since. When it has returned without an error, nothing in its scope gets a
// lease in any partition before the hold is over; see the package comment, and docs/guarantees.md for what a failover may do. What
// was claimed before and has not begun goes back within a second, and is not counted as an attempt.
//
// Beside the hold there may be a [dispatcher.IncompleteError]: the partitions that it names did not answer. The hold stays, and they
// obey it as soon as any worker has reached them. A hold that breaks a rule is an error that wraps [dispatcher.ErrInvalid], and then
// nothing is held.
//
// It costs five round trips and one for each partition.
func (c *Control) Hold(ctx context.Context, h Hold) (Hold, error) {
	rule, err := h.rule()
	if err != nil {
		return Hold{}, err
	}
	if err := c.declared(ctx, &h); err != nil {
		return Hold{}, err
	}
	if h.Since, err = c.lanes.Time(ctx); err != nil {
		return Hold{}, err
	}
	if !h.Until.IsZero() && !h.Until.After(h.Since) {
		return Hold{}, lanes.Invalid("until", h.Until.Format(time.RFC3339), "must be after now, "+h.Since.Format(time.RFC3339))
	}
	if err := c.obeyed(ctx, h.Forced); err != nil {
		return Hold{}, err
	}
	rule.ID = "H-"
	told, err := json.Marshal(about{h.Reason, h.By, h.Since.UnixMilli(), h.Forced})
	if err != nil {
		return Hold{}, err
	}
	id, policy, err := c.lanes.AddHold(ctx, rule, told, h.words())
	if err != nil {
		var full *lanes.FullPolicyError
		if errors.As(err, &full) {
			err = fmt.Errorf("%w: %w", dispatcher.ErrInvalid, full)
		}
		return Hold{}, lanes.Wrap("hold "+h.what(), err)
	}
	h.ID = id
	return h, c.impose(ctx, policy)
}

// Release takes a hold away, and returns what it was: nothing but that one, whatever else bars the same. The error is
// [dispatcher.ErrNotFound] when there is no such hold; a [dispatcher.IncompleteError] is as of [Control.Hold].
func (c *Control) Release(ctx context.Context, id string) (Hold, error) {
	all, err := c.Holds(ctx)
	if err != nil {
		return Hold{}, err
	}
	at := slices.IndexFunc(all, func(h Hold) bool { return h.ID == id })
	if at < 0 {
		return Hold{}, fmt.Errorf("%w: there is no hold %s", dispatcher.ErrNotFound, id)
	}
	policy, err := c.lanes.DropHold(ctx, id, all[at].words())
	if errors.Is(err, lanes.ErrNoHold) {
		return Hold{}, fmt.Errorf("%w: there is no hold %s any more", dispatcher.ErrNotFound, id)
	}
	if err != nil {
		return Hold{}, lanes.Wrap("release "+id, err)
	}
	return all[at], c.impose(ctx, policy)
}

// Holds lists the holds that are on, or will be, in the order in which they were set. It takes two round trips.
func (c *Control) Holds(ctx context.Context) ([]Hold, error) {
	now, err := c.lanes.Time(ctx)
	if err != nil {
		return nil, err
	}
	stored, err := c.lanes.ReadHolds(ctx)
	if err != nil {
		return nil, err
	}
	all := []Hold{}
	for _, r := range stored.Rules {
		if r.Until.After(now) {
			all = append(all, holdOf(r, stored.About[r.ID]))
		}
	}
	return all, nil
}

// InForce reports in how many of the namespace's partitions the present holds are in force. Those that could not be asked are
// in a [dispatcher.IncompleteError]. It takes two round trips.
func (c *Control) InForce(ctx context.Context) (in int, err error) {
	version, err := c.lanes.HoldsVersion(ctx)
	if err != nil {
		return 0, lanes.Wrap("read the version of the holds", err)
	}
	versions, missing, err := c.lanes.PolicyVersions(ctx)
	if err != nil {
		return 0, lanes.Wrap("read the holds of partitions", err)
	}
	for _, v := range versions {
		if v >= version {
			in++
		}
	}
	return in, missing.OrNil()
}

// impose has all partitions obey a policy, and tells the sessions.
func (c *Control) impose(ctx context.Context, policy string) error {
	_, missing, err := c.lanes.Impose(ctx, policy, c.lanes.EveryPartition())
	if err != nil {
		missing = &dispatcher.IncompleteError{Missing: []string{"partitions"}, Err: err}
	}
	c.lanes.TellOfHolds(ctx)
	return missing.OrNil()
}

// obeyed returns an error when workers live that would not obey.
func (c *Control) obeyed(ctx context.Context, forced bool) error {
	if forced {
		return nil
	}
	workers, err := session.Workers(ctx, c.d)
	if err != nil {
		return err
	}
	var holders []string
	for _, w := range workers {
		if w.Alive && !w.Obeys {
			holders = append(holders, w.Holder)
		}
	}
	if len(holders) > 0 {
		return &DisobeyError{holders}
	}
	return nil
}

// rule checks a hold and makes its line of the policy.
func (h *Hold) rule() (r record.HoldRule, err error) {
	switch {
	case h.Reason == "":
		return r, lanes.Invalid("reason", "", "must say why, for those who find it later")
	case len(h.Reason) > maxReason || !utf8.ValidString(h.Reason) || strings.ContainsFunc(h.Reason, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return r, lanes.Invalid("reason", h.Reason, fmt.Sprintf("must be one line of UTF-8, %d bytes at most", maxReason))
	}
	for _, kind := range h.Except {
		if err := dispatcher.CheckKind(kind); err != nil {
			return r, err
		}
	}
	r = record.HoldRule{Until: record.Forever, Except: h.Except, What: h.Name}
	if !h.Until.IsZero() {
		r.Until = h.Until
	}
	switch h.Scope {
	case All:
		r.Scope = record.HoldAll
		if h.Name != "" {
			return r, lanes.Invalid("name", h.Name, "must be empty: the scope is all")
		}
	case Kind:
		r.Scope, err = record.HoldKind, dispatcher.CheckKind(h.Name)
	case Pool:
		r.Scope = record.HoldPool
		if e := subject.CheckName(h.Name); e != nil {
			err = lanes.Invalid("pool", h.Name, "may hold 1 to 64 letters, digits and _ . -")
		}
	case Host:
		r.Scope = record.HoldHost
		if h.Name == "" || len(h.Name) > 64 || strings.ContainsFunc(h.Name, func(r rune) bool { return r <= ' ' || r > '~' }) {
			err = lanes.Invalid("host", h.Name, "must be 1 to 64 printable letters of ASCII, as in the names of holders")
		}
	case Lanes:
		r.Scope, r.What, err = lanesOf(h.Name)
	default:
		err = lanes.Invalid("scope", string(h.Scope), "must be all, kind, pool, host or lane")
	}
	return r, err
}

// declared refuses kinds that are not declared where any are: a hold of a misspelt kind would hold nothing.
func (c *Control) declared(ctx context.Context, h *Hold) error {
	named := slices.Clone(h.Except)
	if h.Scope == Kind {
		named = append(named, h.Name)
	}
	if len(named) == 0 {
		return nil
	}
	kinds, err := c.d.Kinds(ctx)
	if err != nil || len(kinds) == 0 {
		return err
	}
	for _, name := range named {
		if !slices.ContainsFunc(kinds, func(k dispatcher.DeclaredKind) bool { return k.Name == name }) {
			return fmt.Errorf("%w: %s; 'kind ls' has those that are", dispatcher.ErrUndeclared, name)
		}
	}
	return nil
}

// lanesOf reads the name of lanes: a subject, or the beginning of its id with a * behind it.
func lanesOf(name string) (scope byte, what string, err error) {
	begin, many := strings.CutSuffix(name, "*")
	if many {
		kind, id, ok := strings.Cut(begin, ":")
		if !ok || strings.Contains(begin, "*") {
			return 0, "", lanes.Invalid("lane", name, "must be a subject, or KIND: and the beginning of ids with one * behind it")
		}
		canonical := (subject.Key{Kind: kind, ID: id + "x"}).Canonical()
		if err := dispatcher.CheckSubject(subject.Key{Kind: kind, ID: id + "x"}); err != nil {
			return 0, "", err
		}
		return record.HoldLanes, canonical[:len(canonical)-1], nil
	}
	key, err := subject.Parse(name)
	if err != nil {
		return 0, "", fmt.Errorf("%w: %w", dispatcher.ErrInvalid, err)
	}
	return record.HoldLane, key.Canonical(), dispatcher.CheckSubject(key)
}

// what is the scope in words.
func (h *Hold) what() string { return strings.TrimSpace(string(h.Scope) + " " + h.Name) }

// words tell of a hold in the log.
func (h *Hold) words() string {
	w := h.what()
	if len(h.Except) > 0 {
		w += " but " + strings.Join(h.Except, ", ")
	}
	if !h.Until.IsZero() {
		w += " until " + h.Until.UTC().Format(time.RFC3339)
	}
	return w + ": " + h.Reason
}

// holdOf is a hold as it was set.
func holdOf(r record.HoldRule, told string) Hold {
	var a about
	_ = json.Unmarshal([]byte(told), &a) // it bars, whoever wrote it
	h := Hold{ID: r.ID, Except: r.Except, Reason: a.Reason, By: a.By, Since: time.UnixMilli(a.Since).UTC(), Forced: a.Forced}
	if r.Until.Before(record.Forever) {
		h.Until = r.Until
	}
	switch r.Scope {
	case record.HoldAll:
		h.Scope = All
	case record.HoldKind:
		h.Scope, h.Name = Kind, r.What
	case record.HoldPool:
		h.Scope, h.Name = Pool, r.What
	case record.HoldHost:
		h.Scope, h.Name = Host, r.What
	case record.HoldLane, record.HoldLanes:
		h.Scope, h.Name = Lanes, laneName(r)
	}
	return h
}

// laneName is the inverse of lanesOf.
func laneName(r record.HoldRule) string {
	if r.Scope == record.HoldLane {
		key, err := subject.FromCanonical(r.What)
		if err != nil {
			return fmt.Sprintf("%q", r.What)
		}
		return key.Word()
	}
	key, err := subject.FromCanonical(r.What + "x")
	if err != nil {
		return fmt.Sprintf("%q*", r.What)
	}
	return key.Kind + ":" + strings.TrimSuffix(key.ID, "x") + "*"
}
