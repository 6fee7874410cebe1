package script

import "strings"

// link puts shared Lua sources before a script, without the functions that it does
// not use: a call makes all functions of its script anew, and the thirty shared ones
// cost as much as five commands.
func link(source string, shared ...string) string {
	prelude := strings.Join(shared, "\n")
	pieces := split(prelude)
	used := make(map[string]bool)
	note(used, source)
	kept := []string{source}
	// Functions stand before those that use them, so one pass from the end is enough.
	for i := len(pieces) - 1; i >= 0; i-- {
		if p := pieces[i]; p.function == "" || used[p.function] {
			note(used, p.text)
			kept = append(kept, p.text)
		}
	}
	var linked strings.Builder
	for i := len(kept) - 1; i >= 0; i-- {
		linked.WriteString(kept[i])
	}
	return linked.String()
}

// piece is a function at the top of a Lua file, or what stands between two.
type piece struct{ function, text string }

const opening, closing = "local function ", "\nend\n"

func split(source string) (pieces []piece) {
	for source != "" {
		at := 0
		if !strings.HasPrefix(source, opening) {
			if at = strings.Index(source, "\n"+opening) + 1; at == 0 {
				return append(pieces, piece{text: source})
			}
			pieces = append(pieces, piece{text: source[:at]})
		}
		end := strings.Index(source[at:], closing)
		if end < 0 {
			return append(pieces, piece{text: source[at:]})
		}
		end += at + len(closing)
		name := source[at+len(opening):]
		name = name[:strings.IndexFunc(name, func(r rune) bool { return !inName(r) })]
		pieces, source = append(pieces, piece{name, source[at:end]}), source[end:]
	}
	return pieces
}

// note adds the names that stand in a source outside of comments. Those of fields stand behind a single dot.
func note(names map[string]bool, source string) {
	for line := range strings.Lines(source) {
		code, _, _ := strings.Cut(line, "--")
		code = strings.ReplaceAll(code, "..", " ")
		for word := range strings.FieldsFuncSeq(code, func(r rune) bool { return !inName(r) && r != '.' }) {
			name, _, _ := strings.Cut(word, ".")
			names[name] = true
		}
	}
}

func inName(r rune) bool {
	return r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}
