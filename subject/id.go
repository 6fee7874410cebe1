package subject

import (
	"fmt"
	"strconv"
	"strings"
)

// MaxIDBytes is the most bytes that a job's id may have.
const MaxIDBytes = 128

// CheckID returns an error that wraps [ErrInvalid] unless id can name a job: 1 to
// [MaxIDBytes] bytes of any value.
func CheckID(id string) error {
	if id == "" || len(id) > MaxIDBytes {
		return fmt.Errorf("%w: job id %q has %d bytes, 1 to %d are allowed", ErrInvalid, shortened(id), len(id), MaxIDBytes)
	}
	return nil
}

// IDText returns the text form of a job's id: the id itself when it is plain (see [plain])
// and does not start with a dash, which commands would take for a flag; and else the id
// quoted like a Go string. So it is always printable, holds no space outside of quotes and no
// line break, and [ParseID] gives back the same id.
func IDText(id string) string { return part(id, "") }

// ParseID reads the text form: one that starts with a double quote as a quoted Go string,
// any other as it stands. Errors wrap [ErrInvalid].
func ParseID(text string) (string, error) {
	id := text
	if strings.HasPrefix(text, `"`) {
		var err error
		if id, err = strconv.Unquote(text); err != nil {
			return "", fmt.Errorf("%w: job id %q starts with a quote and is not a well-formed quoted string", ErrInvalid, shortened(text))
		}
	}
	return id, CheckID(id)
}

// part is a part of a text form: quoted unless it is plain, holds none of stops, and does
// not look like a flag.
func part(s, stops string) string {
	if plain(s) && !strings.ContainsAny(s, stops) && !strings.HasPrefix(s, "-") {
		return s
	}
	return strconv.Quote(s)
}

// IDWord returns the text form of a job's id as one word of a shell: see [Key.Word].
func IDWord(id string) string { return shellWord(part(id, "'")) }

// Word returns the text form of k as one word of a shell, which xargs reads alike: in single
// quotes where it holds anything that means something to them. A quote within it is written
// \x27, as Go strings may have it, and so needs none of the shell's ways to write one.
func (k Key) Word() string { return shellWord(textForm(k, "'")) }

func shellWord(text string) string {
	for _, r := range text {
		bare := r >= 0x80 || word(byte(r)) || strings.ContainsRune("./:,@+%-", r)
		if !bare {
			return "'" + strings.ReplaceAll(text, "'", `\x27`) + "'"
		}
	}
	return text
}

func shortened(text string) string {
	const most = 2 * MaxIDBytes
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
