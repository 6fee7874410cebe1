package arch

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// statements is docs/statements.md: the tests that show each number, and the numbers that are not
// claimed yet.
type statements struct {
	shown   map[string][]string
	unclaim map[string]bool
}

func readStatements(t *testing.T) statements {
	t.Helper()
	page, err := os.ReadFile("../../docs/statements.md")
	if err != nil {
		t.Fatal(err)
	}
	table, rest, found := strings.Cut(string(page), "## Not claimed yet")
	if !found {
		t.Fatal("docs/statements.md does not say what is not claimed yet")
	}
	s := statements{make(map[string][]string), make(map[string]bool)}
	row, test := regexp.MustCompile(`(?m)^\| ([A-Z]\d+) \| .+ \| (.*) \|$`), regexp.MustCompile("`(Test\\w+)`")
	for _, m := range row.FindAllStringSubmatch(table, -1) {
		if _, twice := s.shown[m[1]]; twice {
			t.Errorf("%s has two lines", m[1])
		}
		s.shown[m[1]] = nil
		for _, name := range test.FindAllStringSubmatch(m[2], -1) {
			s.shown[m[1]] = append(s.shown[m[1]], name[1])
		}
	}
	for _, m := range regexp.MustCompile(`([A-Z])(\d+)(?:–[A-Z](\d+))?`).FindAllStringSubmatch(rest, -1) {
		from, to := 0, 0
		_, _ = fmt.Sscan(m[2], &from)
		if _, err := fmt.Sscan(m[3], &to); err != nil {
			to = from
		}
		for ; from <= to; from++ {
			s.unclaim[m[1]+fmt.Sprint(from)] = true
		}
	}
	return s
}

// texts are the files of the project that may name numbers, by their paths.
func texts(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := strings.TrimPrefix(filepath.ToSlash(path), "../../")
		switch filepath.Ext(name) {
		case ".go", ".lua", ".md", ".txt":
		default:
			return nil
		}
		if name == "docs/statements.md" || name == "CHANGELOG.md" { // the one is the legend, the other tells of what was
			return nil
		}
		text, err := os.ReadFile(path)
		all[name] = string(text)
		return err
	})
	if err != nil || len(all) < 200 {
		t.Fatalf("%d files were read: %v", len(all), err)
	}
	return all
}

// declaredTests are the names of all tests in some texts; of some rooms, if they are named.
func declaredTests(all map[string]string, rooms ...string) map[string]bool {
	tests := make(map[string]bool)
	for name, text := range all {
		if !strings.HasSuffix(name, "_test.go") || len(rooms) > 0 && !slices.Contains(rooms, path.Dir(name)) {
			continue
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(text, -1) {
			tests[m[1]] = true
		}
	}
	return tests
}

// Each statement that the page claims has tests, and they exist; of no letter a number is left out.
func TestStatementsHaveTheirTests(t *testing.T) {
	t.Parallel()
	exists := declaredTests(texts(t))
	s := readStatements(t)
	for number, tests := range s.shown {
		if len(tests) == 0 {
			t.Errorf("%s has no test", number)
		}
		if s.unclaim[number] {
			t.Errorf("%s is claimed, and not claimed yet", number)
		}
		for _, test := range tests {
			if !exists[test] {
				t.Errorf("%s is shown by %s, which does not exist", number, test)
			}
		}
		var n int
		_, _ = fmt.Sscan(number[1:], &n)
		for ; n > 0; n-- {
			if before := number[:1] + fmt.Sprint(n); !s.unclaim[before] && s.shown[before] == nil {
				t.Errorf("nothing is said of %s", before)
			}
		}
	}
	if len(s.shown) < 50 {
		t.Errorf("the page has %d statements", len(s.shown))
	}
}

// Each number that is used in code, tests or docs, and in the name of a test, is a statement that the
// page claims, or an invariant of dispatcher/doc.go.
func TestNumbersHaveALegend(t *testing.T) {
	t.Parallel()
	all := texts(t)
	known := make(map[string]bool)
	for number := range readStatements(t).shown {
		known[number] = true
	}
	for _, m := range regexp.MustCompile(`(?m)^//\t(I\d+)\s`).FindAllStringSubmatch(all["dispatcher/doc.go"], -1) {
		known[m[1]] = true
	}
	if !known["I1"] || !known["I16"] {
		t.Fatal("the invariants of dispatcher/doc.go were not found")
	}
	used, named, one := regexp.MustCompile(`\b[GLBCUDHFI][1-9]\d?\b`), regexp.MustCompile(`\bTest((?:[A-Z]\d+)+)_`), regexp.MustCompile(`[A-Z]\d+`)
	seen := 0
	for name, text := range all {
		numbers := used.FindAllString(text, -1)
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			numbers = append(numbers, one.FindAllString(m[1], -1)...)
		}
		for _, number := range numbers {
			if seen++; !known[number] {
				t.Errorf("%s uses %s, which docs/statements.md and dispatcher/doc.go do not have", name, number)
			}
		}
	}
	if seen < 300 {
		t.Errorf("%d numbers were seen", seen)
	}
}
