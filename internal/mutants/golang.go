package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
)

var goSwapped = map[token.Token]token.Token{
	token.EQL: token.NEQ, token.NEQ: token.EQL, token.LSS: token.LEQ, token.LEQ: token.LSS,
	token.GTR: token.GEQ, token.GEQ: token.GTR, token.LAND: token.LOR, token.LOR: token.LAND,
	token.ADD: token.SUB, token.SUB: token.ADD,
}

// mutateGo returns all mutants of a Go source: conditions negated, bounds off by one, statements
// dropped, errors swallowed.
func mutateGo(file, source string) ([]mutant, error) {
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var all []mutant
	at := func(p token.Pos) int { return files.Position(p).Offset }
	add := func(from, till token.Pos, to string) {
		all = append(all, newMutant(file, source, at(from), at(till), to))
	}
	text := func(n ast.Node) string { return source[at(n.Pos()):at(n.End())] }
	ast.Inspect(parsed, func(n ast.Node) bool { return visit(n, add, text) })
	return all, nil
}

type adder func(from, till token.Pos, to string)

func visit(n ast.Node, add adder, text func(ast.Node) string) bool {
	switch n := n.(type) {
	case *ast.FuncDecl:
		if n.Body != nil {
			swallow(n.Type, n.Body, add, text)
		}
	case *ast.IfStmt:
		add(n.Cond.Pos(), n.Cond.End(), "!("+text(n.Cond)+")")
		if text(n.Cond) == "err != nil" && n.Init == nil && n.Else == nil && len(n.Body.List) == 1 && plain(n.Body.List[0]) {
			add(n.Cond.Pos(), n.Cond.End(), "err == nil")
			return false // nobody looks at what comes with an error
		}
	case *ast.BinaryExpr:
		if to, ok := goSwapped[n.Op]; ok {
			add(n.OpPos, n.OpPos+token.Pos(len(n.Op.String())), to.String())
		}
		if n.Op == token.MUL { // of a unit, as in 5 * time.Second: how long is nothing that a test tells
			return false
		}
	case *ast.CallExpr: // a longer channel, more room in a table: nothing that a test tells
		if text(n.Fun) == "make" && len(n.Args) > 1 {
			if _, list := n.Args[0].(*ast.ArrayType); list {
				ast.Inspect(n.Args[1], func(n ast.Node) bool { return visit(n, add, text) })
			}
			return false
		}
	case *ast.BasicLit:
		if i, err := strconv.Atoi(n.Value); n.Kind == token.INT && err == nil {
			add(n.Pos(), n.End(), strconv.Itoa(i+1))
		}
	case *ast.ExprStmt, *ast.IncDecStmt, *ast.DeferStmt, *ast.GoStmt, *ast.SendStmt:
		add(n.Pos(), n.End(), "")
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			add(n.Pos(), n.End(), "")
		}
	case *ast.FuncLit:
		swallow(n.Type, n.Body, add, text)
	}
	return true
}

// plain reports whether a statement returns nothing that is reckoned.
func plain(s ast.Stmt) bool {
	r, ok := s.(*ast.ReturnStmt)
	if !ok {
		return false
	}
	for _, result := range r.Results {
		switch x := result.(type) {
		case *ast.BasicLit, *ast.Ident:
		case *ast.CompositeLit:
			if len(x.Elts) > 0 {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// swallow adds the mutants of a function in which it returns no error where it should.
func swallow(f *ast.FuncType, body *ast.BlockStmt, add adder, text func(ast.Node) string) {
	if f.Results == nil {
		return
	}
	last, ok := f.Results.List[len(f.Results.List)-1].Type.(*ast.Ident)
	if !ok || last.Name != "error" {
		return
	}
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.ReturnStmt:
			if k := len(n.Results); k > 0 && k == f.Results.NumFields() && text(n.Results[k-1]) != "nil" {
				add(n.Results[k-1].Pos(), n.Results[k-1].End(), "nil")
			}
		}
		return true
	})
}
