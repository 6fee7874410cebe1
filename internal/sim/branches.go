package sim

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Branch is a place in a Lua script that runs or does not: what an if or a loop decides about, a
// function, or a word of a reply. Its name stands still when lines move.
type Branch struct {
	Name string
	Line int
}

func (b Branch) String() string {
	file, rest, _ := strings.Cut(b.Name, ": ")
	return fmt.Sprintf("%s:%d: %s", file, b.Line, rest)
}

// Branches returns those of some Lua files.
func Branches(paths ...string) (all []Branch, err error) {
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for _, s := range sites(string(text)) {
			all = append(all, Branch{s.name, 1 + strings.Count(string(text[:s.at]), "\n")})
		}
		for _, word := range outcomes(string(text)) {
			all = append(all, Branch{outcome(strings.TrimSuffix(filepath.Base(path), ".lua"), word), 1})
		}
	}
	return all, nil
}

// Ran returns how often each branch ran while things went wrong.
func (w *World) Ran() map[string]int {
	known.mu.Lock()
	defer known.mu.Unlock()
	w.mini.Lock()
	defer w.mini.Unlock()
	all := make(map[string]int)
	for i, n := range w.lua.counts {
		if n > 0 {
			all[known.names[i]] = n
		}
	}
	return all
}

// known numbers the branches of all worlds.
var known struct {
	mu      sync.Mutex
	numbers map[string]int
	names   []string
}

func numberOf(name string) int {
	known.mu.Lock()
	defer known.mu.Unlock()
	n, ok := known.numbers[name]
	if !ok {
		if known.numbers == nil {
			known.numbers = make(map[string]int)
		}
		n = len(known.names)
		known.numbers[name], known.names = n, append(known.names, name)
	}
	return n
}

// counted is a script that says of each branch that it ran.
func counted(source string) string {
	var b strings.Builder
	from := 0
	for _, s := range sites(source) {
		fmt.Fprintf(&b, "%s redis.ran(%d) ", source[from:s.at], numberOf(s.name))
		from = s.at
	}
	return b.String() + source[from:]
}

// site is where a branch begins in a source.
type site struct {
	name string
	at   int
}

var (
	header = regexp.MustCompile(`(?m)^-- ([a-z]+): `)
	token  = regexp.MustCompile(`--[^\n]*|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|[A-Za-z_][A-Za-z0-9_]*|[()]`)
	quoted = regexp.MustCompile(`'([a-z]+)'`)
)

// sites finds the branches of Lua files that stand one behind the other, of which some functions may have been left
// out: so a name says in which function of a file it is, and the how-manieth of its like there.
func sites(source string) (all []site) {
	type block struct{ word, text string }
	var open []block
	file, function, like := "", "", make(map[string]int)
	files := headers(source)
	begin, word, depth := 0, "", 0 // of a condition, a loop or a list of parameters
	add := func(text string, at int) {
		if file == "" {
			return
		}
		name := file + ".lua: " + strings.TrimPrefix(function+": ", ": ") + strings.Join(strings.Fields(text), " ")
		if like[name]++; like[name] > 1 {
			name = fmt.Sprintf("%s (%d)", name, like[name])
		}
		all = append(all, site{name, at})
	}
	for _, t := range token.FindAllStringIndex(source, -1) {
		switch text := source[t[0]:t[1]]; {
		case strings.HasPrefix(text, "--"):
			if i := slices.IndexFunc(files, func(f []int) bool { return f[0] == t[0] }); i >= 0 {
				file = source[files[i][2]:files[i][3]]
			}
		case text == "if", text == "elseif", text == "for", text == "while":
			begin, word = t[0], text
			if text == "elseif" {
				open = open[:len(open)-1]
			}
		case text == "then", text == "do":
			what := source[begin:t[0]]
			open = append(open, block{word, what})
			add(what, t[1])
		case text == "else":
			add("else of "+open[len(open)-1].text, t[1])
		case text == "repeat":
			open = append(open, block{"repeat", ""})
			add(text, t[1])
		case text == "function":
			begin, word, depth = t[0], text, 0
		case text == "(" && word == "function":
			depth++
		case text == ")" && word == "function":
			name := strings.Fields(strings.ReplaceAll(source[begin:t[0]], "(", " "))
			if len(open) == 0 && len(name) > 1 {
				function = name[1]
			}
			word = ""
			what := "function"
			if len(name) > 1 && len(open) > 0 && !strings.ContainsAny(source[begin:begin+len("function ")], "(") {
				what += " " + name[1]
			}
			open = append(open, block{"function", ""})
			add(what, t[1])
		case text == "end", text == "until":
			if open = open[:len(open)-1]; len(open) == 0 {
				function = ""
			}
		}
	}
	return all
}

// headers finds where files begin: with their names, in a comment's first line.
func headers(source string) (found [][]int) {
	for _, at := range header.FindAllStringSubmatchIndex(source, -1) {
		before := strings.TrimSuffix(source[:at[0]], "\n")
		if !strings.HasPrefix(before[strings.LastIndexByte(before, '\n')+1:], "--") {
			found = append(found, at)
		}
	}
	return found
}

// outcomes are the words that a script's header says it returns.
func outcomes(source string) (words []string) {
	_, returns, ok := strings.Cut(source, "\n-- Returns ")
	if !ok {
		return nil
	}
	for i, line := range strings.Split(returns, "\n") {
		if i > 0 && !strings.HasPrefix(line, "--  ") {
			break
		}
		for _, word := range quoted.FindAllStringSubmatch(line, -1) {
			if !slices.Contains(words, word[1]) {
				words = append(words, word[1])
			}
		}
	}
	return words
}

func outcome(file, word string) string { return fmt.Sprintf("%s.lua: returns '%s'", file, word) }
