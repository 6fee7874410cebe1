package main

import (
	"bufio"
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
//	dispatcher/turn.lua
//	- if #gone > 0 then
//	+ if #gone >= 0 then
//	many() sends nothing for an empty table.
//
// with an empty line between two; lines with # in front are comments.
func readEquivalents(path string) (equivalents, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all equivalents
	var e equivalent
	add := func() error {
		if e != (equivalent{}) && (e.file == "" || e.was == "" || e.why == "") {
			return fmt.Errorf("%s: an entry has a file, a line with '-', one with '+', and a reason: %+v", path, e)
		}
		if e.file != "" {
			all = append(all, e)
		}
		e = equivalent{}
		return nil
	}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "#"):
		case line == "":
			if err := add(); err != nil {
				return nil, err
			}
		case e.file == "":
			e.file = line
		case e.was == "" && strings.HasPrefix(line, "- "):
			e.was = line[2:]
		case e.is == "" && (line == "+" || strings.HasPrefix(line, "+ ")):
			e.is = strings.TrimPrefix(line[1:], " ")
		default:
			e.why = strings.TrimSpace(e.why + " " + line)
		}
	}
	if err := add(); err != nil {
		return nil, err
	}
	return all, lines.Err()
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
