package record

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/subject"
)

// Actor is who acts, through what, and why.
type Actor struct{ Who, Face, Why string }

// The most bytes of each that are kept, so that a log has a most too.
const (
	mostWho  = 128
	mostFace = 32
	mostWhy  = 512
)

// Lines is how a script is told who acts, and how many entries a log keeps.
func (a Actor) Lines(most int) string {
	return "who " + oneLine(a.Who, mostWho) + "\nface " + oneLine(a.Face, mostFace) + "\nwhy " + oneLine(a.Why, mostWhy) +
		"\nmost " + strconv.Itoa(most) + "\n"
}

// oneLine is a text without control characters, and the beginning of one that is too long.
func oneLine(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most-len("…")], "") + "…"
	}
	return text
}

// Act is what an operator did: one entry of a log.
type Act struct {
	At time.Time
	Actor
	Verb          string // as a command has it: "lane skip"
	Before, After string // a few words each
	Subject       subject.Key
	Job           string // its id
	Kind          string
	Hold          string // its id
}

// ParseAct reads one from the id and the fields of its entry. Fields that it does not know are a newer release's, and passed over.
func ParseAct(id string, fields map[string]any) (a Act, err error) {
	text := func(field string) string { s, _ := fields[field].(string); return s }
	ms, _, _ := strings.Cut(id, "-")
	at, ok := millis(ms)
	if !ok || text("verb") == "" {
		return a, fmt.Errorf("%w: %q in a log of acts", ErrCorrupt, id)
	}
	a = Act{
		At: at, Actor: Actor{text("who"), text("face"), text("why")}, Verb: text("verb"), Before: text("before"), After: text("after"), Kind: text("kind"), Hold: text("hold"),
	}
	if s := text("subject"); s != "" {
		if a.Subject, err = subject.FromCanonical(s); err != nil {
			return a, fmt.Errorf("%w: %q in a log of acts: %w", ErrCorrupt, id, err)
		}
	}
	if packed := text("job"); packed != "" {
		a.Job, err = UnpackID(packed)
	}
	return a, err
}
