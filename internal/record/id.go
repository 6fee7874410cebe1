package record

import (
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// PackID returns how an id stands in Redis: "u" and 16 bytes for a UUID in its
// usual form, which most are, and "i" and the id itself for any other. The first
// byte keeps the two apart.
func PackID(id string) string { return string(AppendID(nil, id)) }

// AppendID appends to b how an id stands in Redis.
func AppendID(b []byte, id string) []byte {
	if len(id) == 36 && strings.ToLower(id) == id {
		if u, err := uuid.Parse(id); err == nil {
			return append(append(b, 'u'), u[:]...)
		}
	}
	return append(append(b, 'i'), id...)
}

// UnpackID is the inverse of PackID. Errors wrap [ErrCorrupt].
func UnpackID(packed string) (string, error) {
	switch {
	case len(packed) == 17 && packed[0] == 'u':
		return uuid.UUID([]byte(packed[1:])).String(), nil
	case len(packed) > 1 && packed[0] == 'i':
		return packed[1:], nil
	}
	return "", fmt.Errorf("%w: %q is not a stored id", ErrCorrupt, packed)
}
