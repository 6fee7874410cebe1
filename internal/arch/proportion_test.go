package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
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
	for _, room := range []string{"subject", "lease", "dispatcher", "worker", "cmd", "lanekeepertest", "internal/connect", "internal/script", "internal/record"} {
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
