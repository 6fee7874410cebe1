package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// standing are words of sentences on why a lane, a job or a kind does not go on. Package inspect makes those, in its files why*.go, so
// that all faces say the same.
var standing = regexp.MustCompile(`(?i)no (living )?worker|is held by|waits (until|for)|tried again|stopped claiming|as many jobs|goes on by itself|stands still|is (suspended|halted)\b`)

// elsewhere are the texts that may have such words for another reason.
var elsewhere = []string{
	"which no worker handles; --until-empty goes on waiting", // what the command itself waits for
	"holds it now; it stands still when that has ended",      // what a verb has done
	"it is suspended; 'lane show' says why",                  // that a verb was refused
	"its head is suspended %t",                               // two records that disagree
	"attempt failed; its job is tried again",                 // what a worker has just decided
	"No workers. Start one",                                  // an empty list
	"it is held by the caller",                               // that a wait would never end
	"is held by who waits for the caller",
	"is ready: its head is tried again now",        // what a verb has done
	"it is suspended; 'lane resume' lets it go on", // that a verb was refused, and which one is meant
	"its head is suspended by itself; 'job resume' lets it run",
}

// Sentences on why something stands still come from one place.
func TestSentencesComeFromWhy(t *testing.T) {
	t.Parallel()
	text := regexp.MustCompile("\"(?:[^\"\\\\\n]|\\\\.)*\"")
	seen := make([]bool, len(elsewhere))
	for _, room := range []string{"cmd/lanekeeper", "dispatcher", "dispatcher/doctor", "dispatcher/inspect", "dispatcher/session", "worker"} {
		paths, _ := filepath.Glob("../../" + room + "/*.go")
		for _, path := range paths {
			name := filepath.Base(path)
			if strings.HasSuffix(name, "_test.go") || room == "dispatcher/inspect" && strings.HasPrefix(name, "why") {
				continue
			}
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(source)) {
				code, _, _ := strings.Cut(line, "// ")
				for _, said := range text.FindAllString(code, -1) {
					at := slices.IndexFunc(elsewhere, func(known string) bool { return strings.Contains(said, known) })
					if at >= 0 {
						seen[at] = true
					} else if len(strings.Fields(said)) > 3 && standing.MatchString(said) {
						t.Errorf("%s/%s says %s: package inspect says why something stands still (why.go)", room, name, said)
					}
				}
			}
		}
	}
	for i, known := range elsewhere {
		if !seen[i] {
			t.Errorf("no file says %q any more", known)
		}
	}
}
