package record

import (
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
