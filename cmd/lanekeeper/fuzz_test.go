package main

import (
	"strings"
	"testing"
	"unicode"

	"github.com/lanekeeper/lanekeeper/subject"
)

// Whatever stands in a line of --from or behind --handle, there is a job or an error.
func FuzzInput(f *testing.F) {
	for _, s := range []string{
		`{"subject":"a:1","kind":"k"}`, `{"subject":"a:1","kind":"k","payload":{"a":9007199254740993},"delay":"1h"}`,
		`{"subject":"a:1","kind":"k","payload_base64":"AP8=","headers":{"a":"b"}}`, `{}{}`, `[]`, `{"nope":1}`, "\x00", `sh -c 'a "b"'`, `a\`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if job, err := parseLine([]byte(s)); err == nil && job.Subject.Validate() != nil && job.Subject != (subject.Key{}) {
			t.Fatalf("%q is a job of the subject %#v", s, job.Subject)
		}
		if words, _, err := parseProgram(s); err == nil && len(words) == 0 {
			t.Fatalf("%q is a program of no words", s)
		}
		if text := printable(s); containsControl(text) {
			t.Fatalf("%q is printed as %q", s, text)
		}
	})
}

func containsControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
