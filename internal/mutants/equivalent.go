package main

import (
	"fmt"
	"os"
	"strings"
)

// equivalents are mutants that nobody can tell from the original, with the reason.
type equivalents []equivalent

type equivalent struct {
	file, was, is, why string
}

// readEquivalents reads a file of entries like
//
//	dispatcher/internal/lanes/turn.lua
//	- if #gone > 0 then
//	+ if #gone >= 0 then
//	many() sends nothing for an empty table.
//
// with an empty line between two, and '+' alone for a line that is dropped; lines with # in front are comments.
func readEquivalents(path string) (equivalents, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all equivalents
	var e equivalent
	at := 0 // which line of an entry comes next
	for i, line := range append(strings.Split(string(text), "\n"), "") {
		bad := func(rule string) error { return fmt.Errorf("%s:%d: %q: %s", path, i+1, line, rule) }
		switch {
		case strings.HasPrefix(line, "#") && at == 0, line == "" && at == 0:
			continue
		case line == "" && at == 4:
			all, e, at = append(all, e), equivalent{}, 0
			continue
		case line == "":
			return nil, bad("the entry ends here, and needs a file, a line with '- ', one with '+ ', and a reason")
		case at == 0:
			e.file = line
		case at == 1 && strings.HasPrefix(line, "- "):
			e.was = line[2:]
		case at == 2 && (line == "+" || strings.HasPrefix(line, "+ ")):
			e.is = strings.TrimPrefix(line[1:], " ")
		case at == 1 || at == 2:
			return nil, bad("after the file comes the line as it is, with '- ' in front, and as it would be, with '+ '")
		case strings.HasPrefix(line, "- ") || strings.HasPrefix(line, "+ ") || strings.HasSuffix(line, ".go") || strings.HasSuffix(line, ".lua"):
			return nil, bad("an entry begins here without an empty line before it")
		default:
			e.why = strings.TrimSpace(e.why + " " + line)
		}
		at = min(4, at+1)
	}
	return all, nil
}

// why returns the reason for which a mutant is no defect, if it is known to be none.
func (all equivalents) why(m mutant) (string, bool) {
	for _, e := range all {
		if e.file == m.file && e.was == m.was && e.is == m.is {
			return e.why, true
		}
	}
	return "", false
}
