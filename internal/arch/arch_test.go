// Package arch holds the rule about who may import whom, as a test.
package arch

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/lanekeeper/lanekeeper/"

// rooms in the order of the one direction: each may import those behind it.
var rooms = []string{
	"lanekeepertest", "cmd", "worker", "dispatcher/doctor", "dispatcher/move", "dispatcher/control", "dispatcher/inspect", "dispatcher/session", "dispatcher", "dispatcher/internal/lanes", "lease", "subject",
}

// kit is the room that only tests import.
const kit = "lanekeepertest"

// direction is what a complaint says.
const direction = "imports run cmd → worker, doctor → move → control → inspect → session → dispatcher → lanes → lease → subject, and a pool looks at no lanes"

// Imports run one way: cmd → worker, doctor → move → control → inspect → session → dispatcher → lanes → lease → subject. internal may
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
				t.Errorf("%s imports %s: %s", from, to, direction)
			}
		}
		return nil
	})
	if err != nil || files < 20 {
		t.Fatalf("read %d files: %v", files, err)
	}
}

func allowed(from, to string) bool {
	if to == kit { // for tests alone
		return false
	}
	if strings.HasPrefix(from, "internal/story/") || strings.HasPrefix(from, "bench/") {
		return true
	}
	if strings.HasPrefix(from, "internal/") {
		return strings.HasPrefix(to, "internal/") || to == "subject"
	}
	if strings.HasPrefix(to, "internal/") || to == "testdata" {
		return true
	}
	if room := rooms[max(0, rank(to))]; strings.HasPrefix(from, "worker/") && (room == "dispatcher/doctor" || room == "dispatcher/move" || room == "dispatcher/control" || room == "dispatcher/inspect") {
		return false
	}
	return rank(to) > rank(from)
}

// rank is the place of a path's room: the one with the longest name that it lies in.
func rank(path string) (place int) {
	place = -1
	for i, room := range rooms {
		if (path == room || strings.HasPrefix(path, room+"/")) && (place < 0 || len(room) > len(rooms[place])) {
			place = i
		}
	}
	return place
}

// The kit for tests, and what it brings along, is in no program: neither ours nor one that imports any package but the kit.
func TestProgramsLinkNoKit(t *testing.T) {
	t.Parallel()
	list := exec.Command("go", "list", "-f", `{{.ImportPath}}:{{range .Deps}} {{.}}{{end}}`, "./cmd/...", "./dispatcher/...", "./worker", "./lease", "./subject", "./examples/...")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{"cmd/lanekeeper/work.go", "examples/hello/main.go", "bench/main.go", "internal/story/story.go"} {
		if allowed(from, kit) {
			t.Errorf("%s may import %s", from, kit)
		}
	}
	packages := 0
	for line := range strings.Lines(string(out)) {
		path, deps, _ := strings.Cut(strings.TrimSpace(line), ":")
		packages++
		for _, dep := range strings.Fields(deps) {
			embeds := dep == module+"internal/embedded" && strings.HasPrefix(path, module+"dispatcher") // a server
			if dep == module+kit || dep == "testing" || embeds {
				t.Errorf("%s links %s", path, dep)
			}
		}
	}
	if packages < 10 {
		t.Errorf("looked at %d packages", packages)
	}
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

// Scripts are made, called and read by the engine and by lease alone: the rooms above know no order of arguments and no
// place of a word.
func TestOnlyTheEngineKnowsScripts(t *testing.T) {
	t.Parallel()
	files := 0
	for _, room := range []string{"dispatcher", "worker", "cmd"} {
		err := filepath.WalkDir("../../"+room, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "internal/lanes/") {
				return err
			}
			files++
			text, err := os.ReadFile(path)
			for _, own := range []string{"script.New", ".Words()", ".Scripts.Once(", ".Scripts.Plain(", ".Scripts.Whole("} {
				if strings.Contains(string(text), own) {
					t.Errorf("%s has %s: what a script takes and says is its twin's to know, in dispatcher/internal/lanes", path, own)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 80 {
		t.Fatalf("read %d files", files)
	}
}
