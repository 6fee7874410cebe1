package lanes

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// SubjectText shows a canonical subject, and IDText a packed id, also one that can't be read: then its bytes
// are quoted, so nothing that a user wrote acts on a terminal or a log (H20).
func SubjectText(canonical string) string {
	key, err := subject.FromCanonical(canonical)
	if err != nil {
		return fmt.Sprintf("%q", canonical)
	}
	return key.String()
}

func IDText(packed string) string {
	id, err := record.UnpackID(packed)
	if err != nil {
		return fmt.Sprintf("%q", packed)
	}
	return subject.IDText(id)
}

// cutOff is the error of a reply that has another number of words than its verb gives: another version wrote the script.
func cutOff(verb string, words []string) error {
	return fmt.Errorf("%s: reply has %d words, beginning %.3q", verb, len(words), words[:min(3, len(words))])
}

// maxError is how much is kept of an error text.
const maxError = 4096

// Clip keeps the end of a text that is too long, where the cause tends to be, and makes UTF-8 of it.
func Clip(s string) string {
	if len(s) > maxError {
		s = "… " + s[len(s)-maxError:]
	}
	return strings.ToValidUTF8(s, string(utf8.RuneError))
}

// first is the status of a reply, "" where none came.
func first(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return words[0]
}
