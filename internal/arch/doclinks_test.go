package arch

import (
	"go/ast"
	"go/doc"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// public are the packages that a program of users may import.
var public = []string{"subject", "lease", "dispatcher", "dispatcher/session", "dispatcher/inspect", "dispatcher/doctor", "dispatcher/move", "dispatcher/control", "worker", "lanekeepertest"}

// readDoc reads what go doc shows of a package.
func readDoc(t *testing.T, room string) *doc.Package {
	t.Helper()
	set, files := token.NewFileSet(), []*ast.File(nil)
	paths, _ := filepath.Glob("../../" + room + "/*.go")
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	p, err := doc.NewFromFiles(set, files, module+room)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// publicText is a doc comment that go doc shows: of a package, of what it exports, of a field or a value of that.
type publicText struct{ of, text string }

// publicTexts are the doc comments of a package.
func publicTexts(p *doc.Package) (all []publicText) {
	all = append(all, publicText{"package " + p.Name, p.Doc})
	within := func(name string, decl ast.Node) {
		ast.Inspect(decl, func(n ast.Node) bool {
			if group, ok := n.(*ast.CommentGroup); ok {
				all = append(all, publicText{"within " + name, group.Text()})
			}
			return true
		})
	}
	values := func(values []*doc.Value) {
		for _, v := range values {
			all = append(all, publicText{strings.Join(v.Names, ", "), v.Doc})
			within(v.Names[0], v.Decl)
		}
	}
	funcs := func(of string, funcs []*doc.Func) {
		for _, f := range funcs {
			all = append(all, publicText{of + f.Name, f.Doc})
		}
	}
	values(p.Consts)
	values(p.Vars)
	funcs("", p.Funcs)
	for _, typ := range p.Types {
		all = append(all, publicText{typ.Name, typ.Doc})
		within(typ.Name, typ.Decl)
		values(typ.Consts)
		values(typ.Vars)
		funcs("", typ.Funcs)
		funcs(typ.Name+".", typ.Methods)
	}
	return all
}

// linksIn are the doc links of a text, for a parser's notion of what there is to link to.
func linksIn(by *comment.Parser, text string) (links []*comment.DocLink) {
	walk := func(texts []comment.Text) {
		for _, t := range texts {
			if link, ok := t.(*comment.DocLink); ok {
				links = append(links, link)
			}
		}
	}
	for _, block := range by.Parse(text).Content {
		switch b := block.(type) {
		case *comment.Paragraph:
			walk(b.Text)
		case *comment.List:
			for _, item := range b.Items {
				for _, in := range item.Content {
					if p, ok := in.(*comment.Paragraph); ok {
						walk(p.Text)
					}
				}
			}
		}
	}
	return links
}

// linkText is a link as it was written.
func linkText(by []comment.Text) (text string) {
	for _, t := range by {
		if plain, ok := t.(comment.Plain); ok {
			text += string(plain)
		}
	}
	return text
}

// A link in the documentation of a package leads somewhere: to a name that the package exports, or to one of a package
// that it imports.
func TestDocLinksResolve(t *testing.T) {
	t.Parallel()
	rooms := make(map[string]*doc.Package)
	for _, room := range public {
		rooms[module+room] = readDoc(t, room)
	}
	seen := 0
	for _, p := range rooms {
		strict, any := p.Parser(), p.Parser()
		any.LookupPackage = func(name string) (string, bool) { return name, true }
		any.LookupSym = func(string, string) bool { return true }
		for _, d := range publicTexts(p) {
			resolved := make(map[string]bool)
			for _, link := range linksIn(strict, d.text) {
				to, ours := rooms[link.ImportPath]
				if ours && link.Name != "" && !to.Parser().LookupSym(link.Recv, link.Name) {
					continue
				}
				resolved[linkText(link.Text)] = true
			}
			for _, link := range linksIn(any, d.text) {
				if !ast.IsExported(link.Name) { // "[plain]", a part of a grammar
					continue
				}
				if seen++; !resolved[linkText(link.Text)] {
					t.Errorf("%s: the doc comment of %s links to [%s], which is not there", p.ImportPath, d.of, linkText(link.Text))
				}
			}
		}
	}
	if seen < 100 {
		t.Errorf("%d links were seen", seen)
	}
}

// What users read in go doc they can read without the rest of the repository: numbers of statements have a legend that the
// package comment names, packages have the names by which they are imported, and articles fit what is linked.
func TestPublicDocsReadByThemselves(t *testing.T) {
	t.Parallel()
	number, invariant := regexp.MustCompile(`\b[GLBCUDHF][1-9]\d?\b`), regexp.MustCompile(`\bI[1-9]\d?\b`)
	short := regexp.MustCompile(`\bpackages?\s+(?:session|inspect|doctor)\b`)
	article := regexp.MustCompile(`\b(?:[Aa]n\s+\[\*?[^AEIOUaeiou*]|[Aa]\s+\[\*?[AEIOUaeiou])`)
	for _, room := range public {
		p := readDoc(t, room)
		for _, d := range publicTexts(p) {
			if n := number.FindString(d.text); n != "" && !strings.Contains(p.Doc, "docs/statements.md") {
				t.Errorf("%s: %s has the number %s, and the package comment does not name docs/statements.md", room, d.of, n)
			}
			if n := invariant.FindString(d.text); n != "" && room != "dispatcher" && !strings.Contains(p.Doc, "package dispatcher") {
				t.Errorf("%s: %s has the number %s, and the package comment does not say that package dispatcher lists it", room, d.of, n)
			}
			if s := short.FindString(d.text); s != "" {
				t.Errorf("%s: %s says %q, without dispatcher/", room, d.of, s)
			}
			if s := article.FindString(d.text); s != "" {
				t.Errorf("%s: %s says %q", room, d.of, s)
			}
		}
	}
}

// The list of the packages above is whole.
func TestPublicPackagesAreKnown(t *testing.T) {
	t.Parallel()
	known := make(map[string]bool)
	for _, room := range public {
		known[room] = true
	}
	for _, room := range []string{"subject", "lease", "dispatcher", "worker", "lanekeepertest"} {
		err := filepath.WalkDir("../../"+room, func(path string, d fs.DirEntry, err error) error {
			name := strings.TrimPrefix(filepath.ToSlash(path), "../../")
			if err != nil || !d.IsDir() || strings.Contains(name, "internal") || strings.Contains(name, "testdata") {
				return err
			}
			if !known[name] {
				t.Errorf("the documentation of %s is looked at by nobody", name)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
