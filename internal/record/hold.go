package record

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Forever is until when a hold is on that ends only by its release.
var Forever = time.UnixMilli(9999999999999).UTC()

// MaxHolds and MaxPolicy are how many holds a namespace may have at once, and how many bytes they may have together: a claim
// looks at each of them.
const (
	MaxHolds  = 32
	MaxPolicy = 16 << 10
)

// Scopes of a hold.
const (
	HoldAll    = 'a'
	HoldKind   = 'k'
	HoldPool   = 'p'
	HoldHost   = 'h'
	HoldLane   = 'l'
	HoldLanes  = 'g' // whose subjects begin so
	HoldWindow = 'w'
)

// HoldRule is one line of a policy: "<id> <from, Unix ms> <until, Unix ms> <scope> <kinds that it lets pass, or -> <what>".
type HoldRule struct {
	ID          string
	From, Until time.Time
	Scope       byte
	Except      []string
	What        string               // a name; canonical bytes of a subject, or those that it begins with; "" of a window
	Windows     map[string]time.Time // of a window, from when on it bars each kind
}

// String is the line, without its end. What would cut it stands as %xx.
func (r *HoldRule) String() string {
	except, what := "-", r.What
	if len(r.Except) > 0 {
		except = strings.Join(r.Except, ",")
	}
	switch r.Scope {
	case HoldLane, HoldLanes:
		what = escaped(what)
	case HoldWindow:
		var b strings.Builder
		for _, kind := range slices.Sorted(maps.Keys(r.Windows)) {
			fmt.Fprintf(&b, " %s=%d", kind, r.Windows[kind].UnixMilli())
		}
		what = b.String() + " "
	}
	return fmt.Sprintf("%s %d %d %c %s %s", r.ID, max(0, r.From.UnixMilli()), r.Until.UnixMilli(), r.Scope, except, what)
}

// escaped writes bytes that are no printable letters of ASCII, and %, as %xx.
func escaped(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c > '~' || c == '%' {
			fmt.Fprintf(&b, "%%%02x", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func unescaped(text string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			b.WriteByte(text[i])
			continue
		}
		if i+3 > len(text) {
			return "", false
		}
		c, err := strconv.ParseUint(text[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(c))
		i += 2
	}
	return b.String(), true
}

// Policy is all holds of a namespace at a version. Readable is false of a text that is none, or not only: it bars everything.
type Policy struct {
	Version  int64
	Rules    []HoldRule
	Readable bool
}

// ParsePolicy reads one. "" is the policy of a namespace that never had a hold.
func ParsePolicy(text string) (p Policy) {
	if text == "" {
		return Policy{Readable: true}
	}
	version, lines, _ := strings.Cut(text, "\n")
	var err error
	p.Version, err = strconv.ParseInt(version, 10, 64)
	p.Readable = err == nil && p.Version > 0
	for line := range strings.Lines(lines) {
		rule, ok := ParseRule(strings.TrimSuffix(line, "\n"))
		if !ok {
			p.Readable = false
			continue
		}
		p.Rules = append(p.Rules, rule)
	}
	return p
}

// ParseRule reads one line of a policy.
func ParseRule(line string) (r HoldRule, ok bool) {
	words := strings.SplitN(line, " ", 6)
	if len(words) < 6 || len(words[3]) != 1 {
		return r, false
	}
	r.ID, r.Scope = words[0], words[3][0]
	var from, until bool
	r.From, from = millis(words[1])
	r.Until, until = millis(words[2])
	if words[4] != "-" {
		r.Except = strings.Split(words[4], ",")
	}
	ok = true
	switch r.Scope {
	case HoldAll, HoldKind, HoldPool, HoldHost:
		r.What = words[5]
	case HoldLane, HoldLanes:
		r.What, ok = unescaped(words[5])
	case HoldWindow:
		r.Windows = make(map[string]time.Time)
		for _, word := range strings.Fields(words[5]) {
			kind, at, _ := strings.Cut(word, "=")
			r.Windows[kind], ok = millis(at)
		}
	default:
		ok = false
	}
	return r, ok && from && until && r.ID != ""
}

// On reports whether a hold is on at a moment.
func (r *HoldRule) On(now time.Time) bool { return !now.Before(r.From) && now.Before(r.Until) }

// BarsClaims reports whether a hold that is on keeps claimants of a pool and on a host from a kind, whatever the lane; "" is
// the kind of a section, which is none.
func (r *HoldRule) BarsClaims(kind, pool, host string, now time.Time) bool {
	bars := false
	switch r.Scope {
	case HoldAll:
		bars = true
	case HoldKind:
		bars = r.What == kind
	case HoldPool:
		bars = r.What == pool
	case HoldHost:
		bars = r.What == host
	case HoldWindow:
		from, is := r.Windows[kind]
		bars = is && !now.Before(from)
	}
	return bars && !slices.Contains(r.Except, kind)
}

// BarsLane reports whether a hold is about a lane, whoever claims.
func (r *HoldRule) BarsLane(canonical, kind string) bool {
	bars := r.Scope == HoldLane && r.What == canonical || r.Scope == HoldLanes && strings.HasPrefix(canonical, r.What)
	return bars && !slices.Contains(r.Except, kind)
}

// HostOf is the host in the name of a holder, "<host>:<process id>:<hex digits>"; "" in one of another form.
func HostOf(holder string) string {
	rest, random, ok := cutLast(holder)
	host, pid, is := cutLast(rest)
	if !ok || !is || pid == "" || random == "" || strings.Trim(pid, "0123456789") != "" || strings.Trim(random, "0123456789abcdefABCDEF") != "" {
		return ""
	}
	return host
}

// cutLast cuts a text at its last colon.
func cutLast(text string) (before, after string, ok bool) {
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return "", "", false
	}
	return text[:i], text[i+1:], true
}

// SortRules sorts holds by their numbers, which are behind the last - of their ids.
func SortRules(rules []HoldRule) {
	number := func(r HoldRule) int {
		n, _ := strconv.Atoi(r.ID[strings.LastIndexByte(r.ID, '-')+1:])
		return n
	}
	slices.SortFunc(rules, func(a, b HoldRule) int { return number(a) - number(b) })
}
