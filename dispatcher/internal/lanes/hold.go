package lanes

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
)

var holdScript = whole("hold")

// Holds are the holds of a namespace, in the order of their numbers: each one's line of the policy, and by its id what is said of
// it to people, as JSON. Those that are over and were not cleared away yet are among them. Version is 0 where there never was one.
type Holds struct {
	Version int64
	Rules   []record.HoldRule
	About   map[string]string
}

// Policy is what partitions are to have of them.
func (h *Holds) Policy() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d\n", h.Version)
	for i := range h.Rules {
		b.WriteString(h.Rules[i].String() + "\n")
	}
	return b.String()
}

// ErrNoHold is returned for a hold that is not there.
var ErrNoHold = errors.New("no such hold")

// FullPolicyError is returned for a hold that would be one too many, or too long.
type FullPolicyError struct{ Holds, Bytes string }

func (e *FullPolicyError) Error() string {
	return fmt.Sprintf("it would be %s holds and %s bytes, %d and %d are the most", e.Holds, e.Bytes, record.MaxHolds, record.MaxPolicy)
}

// AddHold writes a hold, whose ID is what its id is to begin with, and returns its id and the policy with it. words tell of it
// in the log. Nothing is barred yet: see [Namespace.Impose].
func (n *Namespace) AddHold(ctx context.Context, rule record.HoldRule, about []byte, words string) (id, policy string, err error) {
	_, line, _ := strings.Cut(rule.String(), " ")
	return n.changeHolds(ctx, "hold", rule.ID, line, about, words)
}

// DropHold takes a hold away, and returns the policy without it. It is [ErrNoHold] when it is not there.
func (n *Namespace) DropHold(ctx context.Context, id, words string) (policy string, err error) {
	_, policy, err = n.changeHolds(ctx, "release", id, "", nil, words)
	return policy, err
}

func (n *Namespace) changeHolds(ctx context.Context, verb, id, line string, about []byte, words string) (string, string, error) {
	keys := []string{n.Holds(), n.Audit(), n.Meta(), n.Request(uuid.NewString())}
	reply, err := n.Ask(ctx, n.Scripts.Whole(holdScript, keys, verb, id, line, about, words, n.actor(ctx),
		MarkOf(schema, ""), MarkOf(schema, Holding), record.MaxHolds, record.MaxPolicy))
	switch {
	case err != nil:
		return "", "", err
	case reply[0] == "full":
		return "", "", &FullPolicyError{reply[1], reply[2]}
	case reply[0] == "missing":
		return "", "", ErrNoHold
	case reply[0] == "closed":
		return "", "", fmt.Errorf("%w: namespace %s says %q meanwhile", ErrMismatch, n.Name, reply[1])
	}
	return reply[1], reply[2], nil
}

// ReadHolds reads the holds of the namespace.
func (n *Namespace) ReadHolds(ctx context.Context) (h Holds, err error) {
	fields, err := n.Hash(ctx, n.Namespace.Holds())
	if err != nil {
		return h, Wrap("read holds", err)
	}
	h.About = make(map[string]string)
	for id, text := range fields {
		line, about, _ := strings.Cut(text, "\n")
		switch rule, ok := record.ParseRule(id + " " + line); {
		case id == "#":
		case id == "":
			if h.Version, err = strconv.ParseInt(text, 10, 64); err != nil {
				return h, fmt.Errorf("%w: the version of the holds is %q", record.ErrCorrupt, text)
			}
		case !ok:
			return h, fmt.Errorf("%w: hold %s is %q", record.ErrCorrupt, id, line)
		default:
			h.Rules = append(h.Rules, rule)
			h.About[id] = about
		}
	}
	record.SortRules(h.Rules)
	return h, nil
}

// HoldsVersion reads the version of the holds, 0 where there never was one.
func (n *Namespace) HoldsVersion(ctx context.Context) (int64, error) {
	return connect.Ask(ctx, func(ctx context.Context) (int64, error) {
		version, err := n.Redis.HGet(ctx, n.Namespace.Holds(), "").Int64()
		if errors.Is(err, redis.Nil) {
			err = nil
		}
		return version, err
	})
}
