package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// word is a token of a Lua source and where it stands.
type word struct {
	text       string
	start, end int
}

// luaTokens matches comments and white space, which are left out, and every token.
var luaTokens = regexp.MustCompile(`--[^\n]*|\s+|\w+(?:\.\d+)?|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|==|~=|<=|>=|\.\.\.?|.`)

func scan(source string) []word {
	var tokens []word
	for _, at := range luaTokens.FindAllStringIndex(source, -1) {
		text := source[at[0]:at[1]]
		if strings.TrimSpace(text) != "" && !strings.HasPrefix(text, "--") {
			tokens = append(tokens, word{text, at[0], at[1]})
		}
	}
	return tokens
}

// swapped are operators and words that stand for each other in a mutant.
var swapped = map[string]string{
	"==": "~=", "~=": "==", "<": "<=", "<=": "<", ">": ">=", ">=": ">", "and": "or", "or": "and",
	"+": "-", "-": "+", "*": "+", "true": "false", "false": "true",
}

var (
	luaName    = regexp.MustCompile(`^[A-Za-z_]\w*$`)
	luaNumber  = regexp.MustCompile(`^\d+$`)
	luaKeyword = regexp.MustCompile(`^(and|break|do|else|elseif|end|false|for|function|if|in|local|nil|not|or|repeat|return|then|true|until|while)$`)
)

// mutateLua returns all mutants of a Lua source.
func mutateLua(file, source string) []mutant {
	var all []mutant
	add := func(start, end int, to string) {
		all = append(all, newMutant(file, source, start, end, to))
	}
	tokens := scan(source)
	text := func(i int) string {
		if i < 0 || i >= len(tokens) {
			return ""
		}
		return tokens[i].text
	}
	for i, t := range tokens {
		begins := strings.TrimSpace(source[strings.LastIndexByte(source[:t.start], '\n')+1:t.start]) == ""
		isName := luaName.MatchString(t.text) && !luaKeyword.MatchString(t.text)
		switch to, ok := swapped[t.text]; {
		case t.text == "if" || t.text == "elseif" || t.text == "while":
			if end := until(tokens, i+1, "then", "do"); end > i+1 { // a condition negated
				from, till := tokens[i+1].start, tokens[end-1].end
				add(from, till, "not ("+source[from:till]+")")
			}
		case ok && !(t.text == "-" && unary(text(i-1))):
			add(t.start, t.end, to)
		case t.text == "not":
			add(t.start, tokens[i+1].start, "")
		case luaNumber.MatchString(t.text): // a bound off by one, a constant changed
			n, _ := strconv.Atoi(t.text)
			add(t.start, t.end, strconv.Itoa(n+1))
		case strings.HasPrefix(t.text, "'") && text(i-1) != "(": // not the name of a command
			add(t.start, t.end, t.text[:len(t.text)-1]+"x'")
		}
		if end := closing(tokens, i+1); isName && text(i+1) == "(" && end > 0 {
			if begins && text(i-1) != "=" && text(i-1) != "," && ends(text(end+1)) { // a statement dropped
				add(t.start, tokens[end].end, "")
			}
			args := arguments(tokens, i+1, end)
			for k := 1; k < len(args); k++ { // two arguments swapped
				a, b := source[args[k-1][0]:args[k-1][1]], source[args[k][0]:args[k][1]]
				if a != b && text(i-1) != "function" && t.text != "max" && t.text != "min" {
					add(args[k-1][0], args[k][1], b+source[args[k-1][1]:args[k][0]]+a)
				}
			}
		}
		if isName && begins && text(i-1) != "," && text(i-1) != "local" {
			line := source[t.start:]
			line = line[:strings.IndexByte(line+"\n", '\n')]
			if assigns.MatchString(line) && !strings.HasSuffix(line, "{") && !strings.HasSuffix(line, "(") && !strings.HasSuffix(line, "or") && !strings.HasSuffix(line, "and") {
				add(t.start, t.start+len(line), "")
			}
		}
	}
	return all
}

var assigns = regexp.MustCompile(`^[\w.\[\]# +*'-]+(?:, [\w.\[\]# +*'-]+)* = [^=]`)

// until returns the index of the first of two words from i on.
func until(tokens []word, i int, words ...string) int {
	for ; i < len(tokens); i++ {
		for _, w := range words {
			if tokens[i].text == w {
				return i
			}
		}
	}
	return -1
}

// unary reports whether a minus after this token is a sign.
func unary(before string) bool {
	return before == "" || strings.ContainsAny(before[len(before)-1:], "(,={[<>~+*") || luaKeyword.MatchString(before)
}

// ends reports whether a statement can end before this token.
func ends(next string) bool {
	return next == "" || luaName.MatchString(next) && next != "and" && next != "or"
}

// closing returns the index of the parenthesis that closes the one at i, or -1.
func closing(tokens []word, i int) int {
	depth := 0
	for ; i < len(tokens); i++ {
		switch tokens[i].text {
		case "(", "{", "[":
			depth++
		case ")", "}", "]":
			if depth--; depth == 0 {
				return i
			}
		}
		if depth == 0 {
			return -1
		}
	}
	return -1
}

// arguments returns from where to where each argument between two parentheses stands.
func arguments(tokens []word, open, end int) (args [][2]int) {
	depth, from := 0, open+1
	for i := open; i <= end; i++ {
		switch tokens[i].text {
		case "(", "{", "[":
			depth++
		case ")", "}", "]":
			depth--
		}
		if (depth == 1 && tokens[i].text == "," || i == end) && i > from {
			args, from = append(args, [2]int{tokens[from].start, tokens[i-1].end}), i+1
		}
	}
	return args
}

func newMutant(file, source string, start, end int, to string) mutant {
	line := 1 + strings.Count(source[:start], "\n")
	m := mutant{file: file, line: line, good: source, bad: source[:start] + to + source[end:]}
	first := strings.LastIndexByte(source[:start], '\n') + 1
	last := end + strings.IndexByte(source[end:]+"\n", '\n')
	m.was = oneLine(source[first:last])
	m.is = oneLine(source[first:start] + to + source[end:last])
	m.name = fmt.Sprintf("%s:%d: %s -> %s", file, line, m.was, m.is)
	return m
}

// oneLine is a text with its white space made single blanks.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
