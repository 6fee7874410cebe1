package main

import (
	"errors"
	"reflect"
	"strings"
)

// ours is what the import paths of our packages begin with.
const ours = "github.com/lanekeeper/lanekeeper/"

// message is an error's text without the names of packages, which mean nothing to an operator.
// They are taken off the errors that they belong to, and not out of the text: what a user
// wrote may have such words in it.
func message(err error) string {
	said, rest := "", err.Error()
	for _, cause := range causes(err) {
		text := cause.Error()
		if at := placeOf(rest, text); at >= 0 {
			said, rest = said+rest[:at]+message(cause), rest[at+len(text):]
		}
	}
	said += rest
	if !named(err) {
		return said
	}
	for _, name := range []string{"dispatcher", "subject", "worker", "lease", "script"} {
		if text, found := strings.CutPrefix(said, name+": "); found {
			return text
		}
	}
	return said
}

// causes are the errors that an error wraps itself.
func causes(err error) (all []error) {
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		all = []error{e.Unwrap()}
	case interface{ Unwrap() []error }:
		all = append(all, e.Unwrap()...)
	}
	kept := all[:0]
	for _, cause := range all {
		if cause != nil && cause.Error() != "" {
			kept = append(kept, cause)
		}
	}
	return kept
}

// placeOf is where in a text that of a cause stands: at its beginning or end, or where it is alone.
// Elsewhere it can't be told from what a user wrote.
func placeOf(text, cause string) int {
	switch {
	case strings.HasPrefix(text, cause):
		return 0
	case strings.HasSuffix(text, cause):
		return len(text) - len(cause)
	case strings.Count(text, cause) == 1:
		return strings.Index(text, cause)
	}
	return -1
}

// named reports whether an error's own text begins with its package: one of errors.New, where such
// errors come from, and our types. The text of fmt.Errorf around them may begin with anything.
func named(err error) bool {
	t := reflect.TypeOf(err)
	if t == reflect.TypeOf(errors.New("")) {
		return true
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return strings.HasPrefix(t.PkgPath(), ours) && !strings.HasPrefix(t.PkgPath(), ours+"cmd")
}
