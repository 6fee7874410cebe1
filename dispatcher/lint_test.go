package dispatcher_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	documented = regexp.MustCompile(`(?m)^--\s*(?:Returns\s+)?(KEYS|ARGV)\[(\d+)(?:\+)?\]`)
	luaString  = regexp.MustCompile(`'([a-z]+)'`)
)

// A stale header is worse than none, so headers are checked: the first line names
// the verb, every argument from ARGV[6] on is documented in order, every status
// word that is returned is documented, and nothing is used that only one of the
// two servers knows. And a script is short.
func TestLuaHeaders(t *testing.T) {
	t.Parallel()
	var paths []string
	for _, dir := range []string{"internal/lanes", "internal/lanes/parts", "../lease", "../internal/script", "../internal/record"} {
		found, err := filepath.Glob(filepath.Join(dir, "*.lua"))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, found...)
	}
	if len(paths) < 50 {
		t.Fatalf("found %d scripts, want all of them", len(paths))
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lintScript(t, path, string(text))
	}
}

// mostLines and mostNames are the most that a script may have: it fits on three screens, and has no more names at its top than a
// reader keeps in mind.
const mostLines, mostNames = 150, 17

func lintScript(t *testing.T, path, text string) {
	names := 0
	for line := range strings.Lines(text) {
		declared, ok := strings.CutPrefix(line, "local ")
		if ok && !strings.HasPrefix(declared, "function ") {
			left, _, _ := strings.Cut(declared, " =")
			names += len(strings.Split(left, ","))
		}
	}
	if lines := strings.Count(text, "\n"); lines > mostLines || names > mostNames {
		t.Errorf("%s has %d lines and %d names at its top, %d and %d are the most", path, lines, names, mostLines, mostNames)
	}
	name := strings.TrimSuffix(filepath.Base(path), ".lua")
	header, body, _ := strings.Cut(text, "\n\n")
	if !strings.HasPrefix(text, "-- "+name+": ") {
		t.Errorf("%s: the first line must be '-- %s: …'", path, name)
	}
	for _, bad := range []string{"cjson", "cmsgpack", "struct.", "bit.", "os.", "setresp", "#!lua", "goto ", "error("} {
		if strings.Contains(body, bad) {
			t.Errorf("%s: uses %s, which the two servers do not share (shared/miniredis.md)", path, bad)
		}
	}
	if cut := regexp.MustCompile(`[-+*/%] (string\.)?sub\(|\bsub\([^()]*\) [-+*/%]`).FindString(body); cut != "" {
		t.Errorf("%s: %s reckons with digits cut out of a text: what begins with a 0 is octal to miniredis's Lua", path, cut)
	}
	for _, line := range regexp.MustCompile(`(?m)^\s*(\w+) = ([^\n-]*\bnot\b.*)$`).FindAllStringSubmatch(body, -1) {
		if regexp.MustCompile(`\b` + line[1] + `\b`).MatchString(line[2]) {
			t.Errorf("%s: %s: to miniredis's Lua a local is not what it was where 'not' stands beside it in what it becomes", path, line[0])
		}
	}
	if strings.Contains(body, "string.format('%s") || strings.Contains(body, " %s") && strings.Contains(body, "string.format") {
		t.Errorf("%s: string.format('%%s') stops at a NUL in Redis' Lua", path)
	}
	part := strings.Contains(path, "/parts/") || strings.HasPrefix(path, "../internal/") || slices.Contains([]string{"fence", "policy", "lease", "park", "handover"}, name)
	if part {
		return // partition.lua and whole.lua document what all scripts get
	}
	if !strings.Contains(header, "Returns") {
		t.Errorf("%s: the header does not say what it returns", path)
	}
	// Words that a reply starts with, or holds for each job.
	for _, m := range regexp.MustCompile(`return \{ '([a-z]+)'|reply\[[a-z.]*\] = '([a-z]+)'`).FindAllStringSubmatch(body, -1) {
		word := m[1] + m[2]
		if !strings.Contains(header, "'"+word+"'") {
			t.Errorf("%s: returns %q, which its header does not document", path, word)
		}
	}
	highest := 0
	for _, m := range regexp.MustCompile(`ARGV\[FIRST(?: \+ (\d+))?\]`).FindAllStringSubmatch(body, -1) {
		n := 6
		if m[1] != "" {
			n += int(m[1][0] - '0')
		}
		highest = max(highest, n)
	}
	last, open := 5, false
	for _, m := range documented.FindAllStringSubmatch(header, -1) {
		if m[1] == "ARGV" {
			last++
			open = strings.HasSuffix(m[0], "+]")
		}
	}
	if highest > last && !open {
		t.Errorf("%s: uses ARGV[%d], documents up to ARGV[%d]", path, highest, last)
	}
}

// Every word that the Go side decides by is one that some script returns.
func TestStatusWordsAgree(t *testing.T) {
	t.Parallel()
	var lua, goText strings.Builder
	for _, pattern := range []string{"internal/lanes/*.lua", "internal/lanes/parts/*.lua", "../lease/*.lua", "../internal/*/*.lua", "*.go", "internal/lanes/*.go", "../lease/*.go", "../internal/script/*.go"} {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(path, ".lua") {
				lua.Write(text)
			} else if !strings.HasSuffix(path, "_test.go") {
				goText.Write(text)
			}
		}
	}
	known := make(map[string]bool)
	for _, m := range luaString.FindAllStringSubmatch(lua.String(), -1) {
		known[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`(?:words\[\w+\]|word|did|\.Did|\.Fate) [!=]= "([a-z]+)"|case "(full|conflict|backlog)"`).FindAllStringSubmatch(goText.String(), -1) {
		if word := m[1] + m[2]; !known[word] {
			t.Errorf("Go decides by the word %q, which no script returns", word)
		}
	}
}
