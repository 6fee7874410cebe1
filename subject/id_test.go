package subject_test

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/lanekeeper/lanekeeper/subject"
)

// odd are ids that a list, a terminal or a shell would change.
var odd = []string{
	"plain", "e-42", "-rf", "--", "two words", "two\nlines", "tab\t", "esc\x1b[31m", "caf\xe9", "caf\xe8", "\xff", "\x00", "café",
	"\u00a0", "\u202e", "\ufffd", "'", "it's", `"`, `"quoted"`, `'"'"'`, `a\nb`, `\x27`, "$HOME", "`id`", "*", "~", "#x", "a;b", "a&b|c",
	"(x)", "{a,b}", "!x", "=x", "%s", "a=b", strings.Repeat("x", 128), strings.Repeat("\xff", 128),
}

func TestG19_IDText(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"e-42": "e-42", "a:b/c": "a:b/c", "it's": "it's", "-rf": `"-rf"`, "two words": `"two words"`,
		"caf\xe9": `"caf\xe9"`, "a\nb": `"a\nb"`, `say "x"`: `"say \"x\""`, "\x1b[0m": `"\x1b[0m"`,
	} {
		if got := subject.IDText(id); got != want {
			t.Errorf("IDText(%q) = %s, want %s", id, got, want)
		}
	}
	for _, id := range odd {
		text := subject.IDText(id)
		if back, err := subject.ParseID(text); back != id || err != nil {
			t.Errorf("%q as text is %s, which reads as %q, %v", id, text, back, err)
		}
		if strings.HasPrefix(text, "-") || strings.ContainsAny(text, "\n\x1b\x00") {
			t.Errorf("%q as text is %q", id, text)
		}
	}
	for _, text := range []string{"", `"`, `"x`, `"x"y`, strings.Repeat("x", 129), `""`} {
		if id, err := subject.ParseID(text); !errors.Is(err, subject.ErrInvalid) {
			t.Errorf("ParseID(%.20q) = %q, %v; want ErrInvalid", text, id, err)
		}
	}
}

// A shell and xargs take a word for the text form, whatever is in it.
func TestG19_Words(t *testing.T) {
	t.Parallel()
	var words, texts []string
	for _, id := range odd {
		words, texts = append(words, subject.IDWord(id)), append(texts, subject.IDText(id))
		k := subject.Key{Kind: id, ID: id}
		words, texts = append(words, k.Word()), append(texts, k.String())
	}
	list := strings.Join(words, "\n")
	xargs := exec.Command("xargs", "printf", `%s\n`)
	xargs.Stdin = strings.NewReader(list)
	for what, cmd := range map[string]*exec.Cmd{
		"sh":    exec.Command("sh", "-c", `printf '%s\n' `+strings.Join(words, " ")),
		"xargs": xargs,
	} {
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", what, err, out)
		}
		got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		if len(got) != len(words) {
			t.Fatalf("%s makes %d words of %d:\n%s", what, len(got), len(words), out)
		}
		for i, word := range got {
			same := word == texts[i]
			if !same && i%2 == 0 { // a quote is written otherwise, and read alike
				a, err := subject.ParseID(word)
				b, _ := subject.ParseID(texts[i])
				same = a == b && err == nil
			} else if !same {
				a, err := subject.Parse(word)
				b, _ := subject.Parse(texts[i])
				same = a == b && err == nil
			}
			if !same {
				t.Errorf("%s makes %s of %s, want %s", what, word, words[i], texts[i])
			}
		}
	}
	if !slices.Contains(words, "e-42") || !slices.Contains(words, `'"-rf"'`) || !slices.Contains(words, `'"it\x27s"'`) {
		t.Errorf("words %q", words)
	}
}

func FuzzIDText(f *testing.F) {
	for _, id := range odd {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if subject.CheckID(id) != nil {
			return
		}
		text := subject.IDText(id)
		if back, err := subject.ParseID(text); back != id || err != nil {
			t.Fatalf("%q as text is %s, which reads as %q, %v", id, text, back, err)
		}
		word := strings.TrimSuffix(strings.TrimPrefix(subject.IDWord(id), "'"), "'") // as a shell takes it
		if back, err := subject.ParseID(word); back != id || err != nil {
			t.Fatalf("%q as a word is %s, which reads as %q, %v", id, word, back, err)
		}
	})
}
