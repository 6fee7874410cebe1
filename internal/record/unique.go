package record

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// UniqueField is where a unique key of a subject and kind stands among those of a partition. The key is
// the user's, or else the digest of the payload: the two can't be mistaken for each other, for they
// differ in their first byte.
func UniqueField(canonical, kind, key string, digest []byte) string {
	if key != "" {
		key = "k" + key
	} else {
		key = "d" + string(digest)
	}
	return WithSubject(canonical, kind+" "+key)
}

// NameField reads the field from what is known of a job that has a unique key: "<jobs merged into it>
// <rules> <field>". It is "" when that can't be read.
func NameField(record string) string {
	parts := strings.SplitN(record, " ", 3)
	if len(parts) != 3 {
		return ""
	}
	return parts[2]
}

// ParseOwner reads "<seq>,<merged>,<packed id in hex>" of a reply: the job that has a unique key.
func ParseOwner(text string) (id string, seq int64, merged int, err error) {
	parts := strings.Split(text, ",")
	if len(parts) != 3 {
		return "", 0, 0, fmt.Errorf("%w: %q is not the owner of a unique key", ErrCorrupt, text)
	}
	packed, err := hex.DecodeString(parts[2])
	if err == nil {
		id, err = UnpackID(string(packed))
	}
	seq, _ = strconv.ParseInt(parts[0], 10, 64)
	merged, _ = strconv.Atoi(parts[1])
	return id, seq, merged, err
}

// Name is what is known of a job that has a unique key, and ParseName its inverse.
func Name(merged int, rules, field string) string {
	return strconv.Itoa(merged) + " " + rules + " " + field
}

// ParseName: see Name.
func ParseName(record string) (merged int, rules, field string, ok bool) {
	parts := strings.SplitN(record, " ", 3)
	if len(parts) != 3 {
		return 0, "", "", false
	}
	merged, err := strconv.Atoi(parts[0])
	return merged, parts[1], parts[2], err == nil
}

// ParseUniqueField is the inverse of [UniqueField]: either the key or the digest is set, both of any bytes.
func ParseUniqueField(field string) (canonical, kind, key string, digest []byte, ok bool) {
	canonical, rest, ok := CutSubject(field)
	kind, text, found := strings.Cut(rest, " ")
	if !ok || !found || text == "" {
		return "", "", "", nil, false
	}
	if text[0] == 'd' {
		return canonical, kind, "", []byte(text[1:]), true
	}
	return canonical, kind, text[1:], nil, text[0] == 'k'
}
