package script

import (
	"regexp"
	"strings"
)

var (
	// function matches a function at the top of a Lua file: its name, and all of it.
	function = regexp.MustCompile(`(?ms)^local function (\w+).*?^end\n`)
	comment  = regexp.MustCompile(`--.*`)
)

// link puts shared Lua sources before a script, without the functions that it does
// not use: a call makes all functions of its script anew, and the thirty shared ones
// cost as much as five commands.
func link(source string, shared ...string) string {
	prelude := strings.Join(shared, "\n")
	functions := function.FindAllStringSubmatchIndex(prelude, -1)
	linked, end := source, len(prelude)
	// Functions stand before those that use them, so one pass from the end is enough.
	for i := len(functions) - 1; i >= 0; i-- {
		at := functions[i]
		linked = prelude[at[1]:end] + linked
		end = at[0]
		name := regexp.MustCompile(`\b` + prelude[at[2]:at[3]] + `\b`)
		if name.MatchString(comment.ReplaceAllString(linked, "")) {
			linked = prelude[at[0]:at[1]] + linked
		}
	}
	return prelude[:end] + linked
}
