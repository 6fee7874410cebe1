package record

import (
	"fmt"
	"strconv"
	"strings"
)

// Note is what has come of a job so far, of those of which there is anything to say: "<ended attempts>
// <waits|suspended> <bytes of workers>\n<workers, a line each><error>".
type Note struct {
	Attempts  int      // that have ended
	Suspended bool     // by itself
	Workers   []string // holders that it has failed on, where they count
	Error     string   // what the last attempt failed with
}

// ParseNote reads one. ok is false for what is none.
func ParseNote(record string) (n Note, ok bool) {
	words, rest, _ := strings.Cut(record, "\n")
	parts := strings.Split(words, " ")
	if len(parts) != 3 {
		return Note{}, false
	}
	attempts, err := strconv.Atoi(parts[0])
	length, err2 := strconv.Atoi(parts[2])
	if err != nil || err2 != nil || length < 0 || length > len(rest) {
		return Note{}, false
	}
	workers := strings.TrimSuffix(rest[:length], "\n")
	n = Note{Attempts: attempts, Suspended: parts[1] == "suspended", Error: rest[length:]}
	if workers != "" {
		n.Workers = strings.Split(workers, "\n")
	}
	return n, true
}

// String is the inverse of [ParseNote]. It is "" for a note that says nothing: such a note is not stored.
func (n Note) String() string {
	workers, state := "", "waits"
	for _, w := range n.Workers {
		workers += w + "\n"
	}
	if n.Suspended {
		state = "suspended"
	}
	if n.Attempts == 0 && !n.Suspended && workers == "" && n.Error == "" {
		return ""
	}
	return fmt.Sprintf("%d %s %d\n", n.Attempts, state, len(workers)) + workers + n.Error
}
