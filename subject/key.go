package subject

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxKeyBytes is the most that kind and id of a [Key] may hold together.
const MaxKeyBytes = 512

// ErrInvalid is the class of every error about a malformed key or namespace.
var ErrInvalid = errors.New("subject: invalid")

// Key names a subject, the thing whose jobs must not overlap: a kind such as
// "artifact" and an id such as "42". Both are bytes of any value, neither is
// empty, and together they are at most [MaxKeyBytes] long. Keys are comparable.
type Key struct {
	Kind string
	ID   string
}

// SlotKind is the kind of keys that no job has: they stand for the slots of limits.
const SlotKind = "~"

// Slot returns the key of a limit's nth slot. All slots of a limit are in one partition.
func Slot(limit string, n int) Key {
	return Key{Kind: SlotKind, ID: limit + "#" + strconv.Itoa(n)}
}

// Validate returns an error that wraps [ErrInvalid] and names the field and the
// rule when k is not a usable key.
func (k Key) Validate() error {
	switch {
	case k.Kind == "":
		return fmt.Errorf("%w: subject kind is empty; write it as kind:id", ErrInvalid)
	case k.ID == "":
		return fmt.Errorf("%w: subject id is empty; write it as kind:id", ErrInvalid)
	case len(k.Kind)+len(k.ID) > MaxKeyBytes:
		return fmt.Errorf("%w: subject has %d bytes, at most %d are allowed",
			ErrInvalid, len(k.Kind)+len(k.ID), MaxKeyBytes)
	}
	return nil
}

// Canonical returns the bytes that stand for k in Redis: the length of the kind
// as a uvarint, the kind, the id. The prefix keeps ("a","bc") and ("ab","c") apart.
func (k Key) Canonical() string {
	return string(k.AppendCanonical(make([]byte, 0, binary.MaxVarintLen16+len(k.Kind)+len(k.ID))))
}

// AppendCanonical appends the canonical form to b.
func (k Key) AppendCanonical(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(k.Kind)))
	return append(append(b, k.Kind...), k.ID...)
}

// FromCanonical is the inverse of [Key.Canonical]. It returns an error that
// wraps [ErrInvalid] for bytes that Canonical cannot have made.
func FromCanonical(s string) (Key, error) {
	n, size := binary.Uvarint([]byte(s[:min(len(s), binary.MaxVarintLen16)]))
	if size <= 0 || n > uint64(len(s)-size) {
		return Key{}, fmt.Errorf("%w: %q is not the canonical form of a subject", ErrInvalid, s)
	}
	k := Key{Kind: s[size : size+int(n)], ID: s[size+int(n):]}
	if err := k.Validate(); err != nil {
		return Key{}, err
	}
	if k.Canonical() != s { // an overlong length prefix would give one key two names
		return Key{}, fmt.Errorf("%w: %q is not the canonical form of a subject", ErrInvalid, s)
	}
	return k, nil
}

// String returns the text form kind:id. A part that is not plain (see [plain])
// is quoted like a Go string, so the text is always printable, holds no line
// break, and [Parse] gives back the same key. So is a kind that starts with a dash:
// commands would take it for a flag.
func (k Key) String() string { return textForm(k, "") }

// textForm quotes the parts that hold any of stops too.
func textForm(k Key, stops string) string {
	id := k.ID
	if !plain(id) || strings.ContainsAny(id, stops) {
		id = strconv.Quote(id)
	}
	return part(k.Kind, ":"+stops) + ":" + id
}

// plain reports whether s can stand in the text form without quotes.
func plain(s string) bool {
	if s == "" || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r == '"' || r == ' ' || !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// Parse reads the text form. A part that starts with a double quote is read as
// a quoted Go string; an unquoted kind ends at the first colon, an unquoted id
// is all that follows, as it stands. Errors wrap [ErrInvalid].
func Parse(text string) (Key, error) {
	var k Key
	rest := text
	if strings.HasPrefix(rest, `"`) {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return Key{}, fmt.Errorf("%w: subject %q: the quoted kind does not end", ErrInvalid, text)
		}
		k.Kind, _ = strconv.Unquote(quoted) // QuotedPrefix has checked it
		rest = rest[len(quoted):]
		if !strings.HasPrefix(rest, ":") {
			return Key{}, fmt.Errorf("%w: subject %q: no colon after the quoted kind", ErrInvalid, text)
		}
		rest = rest[1:]
	} else {
		var found bool
		k.Kind, rest, found = strings.Cut(rest, ":")
		if !found {
			return Key{}, fmt.Errorf("%w: subject %q has no colon; write it as kind:id", ErrInvalid, text)
		}
	}
	k.ID = rest
	if strings.HasPrefix(rest, `"`) {
		id, err := strconv.Unquote(rest)
		if err != nil {
			return Key{}, fmt.Errorf("%w: subject %q: the id is not a well-formed quoted string", ErrInvalid, text)
		}
		k.ID = id
	}
	if err := k.Validate(); err != nil {
		return Key{}, err
	}
	return k, nil
}

// MarshalText makes a key print as its text form in JSON.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is the inverse of [Key.MarshalText].
func (k *Key) UnmarshalText(text []byte) (err error) {
	*k, err = Parse(string(text))
	return err
}
