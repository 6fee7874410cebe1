package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mostLines is the most that the body of a function may have, in what users run. Who needs more has two ideas in one place.
const mostLines = 60

// Functions fit on a screen.
func TestBodiesFitOnAScreen(t *testing.T) {
	t.Parallel()
	bodies := 0
	for _, room := range []string{"subject", "lease", "dispatcher", "worker", "cmd", "internal/connect", "internal/script", "internal/record"} {
		err := filepath.WalkDir("../../"+room, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files := token.NewFileSet()
			parsed, err := parser.ParseFile(files, path, nil, 0)
			if err != nil {
				return err
			}
			for _, decl := range parsed.Decls {
				f, ok := decl.(*ast.FuncDecl)
				if !ok || f.Body == nil {
					continue
				}
				bodies++
				if lines := files.Position(f.Body.Rbrace).Line - files.Position(f.Body.Lbrace).Line - 1; lines > mostLines {
					t.Errorf("%s: %s has %d lines, %d are the most", path, f.Name.Name, lines, mostLines)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if bodies < 800 {
		t.Fatalf("looked at %d functions", bodies)
	}
}

// A script that is read at 3 a.m. fits on three screens, and has no more names at its top than a reader keeps in mind.
func TestScriptsAreShort(t *testing.T) {
	t.Parallel()
	const mostLines, mostNames = 150, 17
	paths, _ := filepath.Glob("../../dispatcher/internal/lanes/*.lua")
	for _, pattern := range []string{"../../dispatcher/internal/lanes/parts/*.lua", "../../lease/*.lua", "../script/*.lua", "../record/*.lua"} {
		more, _ := filepath.Glob(pattern)
		paths = append(paths, more...)
	}
	if len(paths) < 50 {
		t.Fatalf("looked at %d scripts", len(paths))
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		names := 0
		for line := range strings.Lines(string(text)) {
			declared, ok := strings.CutPrefix(line, "local ")
			if ok && !strings.HasPrefix(declared, "function ") {
				left, _, _ := strings.Cut(declared, " =")
				names += len(strings.Split(left, ","))
			}
		}
		if lines := strings.Count(string(text), "\n"); lines > mostLines {
			t.Errorf("%s has %d lines, %d are the most", path, lines, mostLines)
		}
		if names > mostNames {
			t.Errorf("%s has %d names at its top, %d are the most", path, names, mostNames)
		}
	}
}
