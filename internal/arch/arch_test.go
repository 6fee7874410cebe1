// Package arch holds the rule about who may import whom, as a test.
package arch

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/lanekeeper/lanekeeper/"

// rooms in the order of the one direction: each may import those behind it.
var rooms = []string{"cmd", "worker", "dispatcher", "lease", "subject"}

// Imports run one way: cmd → worker → dispatcher → lease → subject. internal may
// import subject and other internals; test helpers there (redistest, story) serve
// tests and may import what they test. Tests may import what they like.
func TestImportsRunOneWay(t *testing.T) {
	t.Parallel()
	files := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		files++
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		from := filepath.ToSlash(strings.TrimPrefix(path, "../../"))
		for _, i := range parsed.Imports {
			name, _ := strconv.Unquote(i.Path.Value)
			if to, ours := strings.CutPrefix(name, module); ours && !allowed(from, to) {
				t.Errorf("%s imports %s: imports run cmd → worker → dispatcher → lease → subject", from, to)
			}
		}
		return nil
	})
	if err != nil || files < 20 {
		t.Fatalf("read %d files: %v", files, err)
	}
}

func allowed(from, to string) bool {
	if strings.HasPrefix(from, "internal/story/") || strings.HasPrefix(from, "bench/") {
		return true
	}
	if strings.HasPrefix(from, "internal/") {
		return strings.HasPrefix(to, "internal/") || to == "subject"
	}
	if strings.HasPrefix(to, "internal/") || to == "testdata" {
		return true
	}
	return rank(to) > rank(from)
}

func rank(path string) int {
	for i, room := range rooms {
		if path == room || strings.HasPrefix(path, room+"/") {
			return i
		}
	}
	return -1
}

// subject is the vocabulary: standard library only, no I/O.
func TestSubjectStandsAlone(t *testing.T) {
	t.Parallel()
	paths, _ := filepath.Glob("../../subject/*.go")
	for _, path := range paths {
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range parsed.Imports {
			name, _ := strconv.Unquote(i.Path.Value)
			dotted := strings.Contains(strings.Split(name, "/")[0], ".")
			if io := name == "os" && !strings.HasSuffix(path, "_test.go") || name == "net"; io ||
				dotted && !strings.HasSuffix(path, "_test.go") {
				t.Errorf("%s imports %s: subject needs only the standard library, and no I/O", path, name)
			}
		}
	}
}

// All scripts go through the one runner: what is shared by them is in one place, and tests can alter them.
func TestScriptsGoThroughTheRunner(t *testing.T) {
	t.Parallel()
	files := 0
	for _, room := range append(rooms, "internal") {
		err := filepath.WalkDir("../../"+room, func(path string, d fs.DirEntry, err error) error {
			inRunner := strings.Contains(path, "internal/script/") || strings.Contains(path, "internal/redistest/")
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || inRunner {
				return err
			}
			files++
			text, err := os.ReadFile(path)
			if strings.Contains(string(text), "redis."+"NewScript(") {
				t.Errorf("%s makes a script of its own: see script.New", path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 50 {
		t.Fatalf("read %d files", files)
	}
}
