package record

import (
	"strconv"
	"strings"
)

// WithSubject puts a subject, in its canonical form, before a text: "<its length> <subject><text>".
func WithSubject(canonical, text string) string {
	return strconv.Itoa(len(canonical)) + " " + canonical + text
}

// CutSubject is the inverse of WithSubject.
func CutSubject(s string) (canonical, text string, ok bool) {
	length, rest, _ := strings.Cut(s, " ")
	n, err := strconv.Atoi(length)
	if err != nil || n < 1 || n > len(rest) {
		return "", "", false
	}
	return rest[:n], rest[n:], true
}
