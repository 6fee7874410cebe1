package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// changes returns what mutants make of a source of one line each.
func changes(all []mutant) []string {
	var got []string
	for _, m := range all {
		got = append(got, m.is)
	}
	slices.Sort(got)
	return got
}

func TestMutantsOfLua(t *testing.T) {
	t.Parallel()
	for source, want := range map[string][]string{
		"if a == 1 and not b then -- if c then": {
			"if a == 1 and b then -- if c then", "if a == 1 or not b then -- if c then", "if a == 2 and not b then -- if c then",
			"if a ~= 1 and not b then -- if c then", "if not (a == 1 and not b) then -- if c then",
		},
		"  call('HSET', key, -1)":       {"", "call('HSET', -1, key)", "call('HSET', key, -2)", "call(key, 'HSET', -1)"},
		"local x = call('GET', k) or 1": {"local x = call('GET', k) and 1", "local x = call('GET', k) or 2", "local x = call(k, 'GET') or 1"},
		"  n = n - 1":                   {"", "n = n + 1", "n = n - 2"},
		"  return { 'ok', true }":       {"return { 'ok', false }", "return { 'okx', true }"},
		"local function f(a, b)":        nil,
		"  f(a)":                        {""},
	} {
		if got := changes(mutateLua("x.lua", source)); !slices.Equal(got, want) {
			t.Errorf("%s\ngot  %q\nwant %q", source, got, want)
		}
	}
}

func TestMutantsOfGo(t *testing.T) {
	t.Parallel()
	for source, want := range map[string][]string{
		"if a < 1 { return nil }":         {"if !(a < 1) { return nil }", "if a < 2 { return nil }", "if a <= 1 { return nil }"},
		"go f()":                          {""},
		"defer f()":                       {""},
		"x := 5 * time.Second":            nil,
		"x = y":                           {""},
		"return x":                        {"return nil"},
		"return 0, err":                   {"return 1, err"},
		"if err != nil { return 0, err }": {"if !(err != nil) { return 0, err }", "if err == nil { return 0, err }"},
		"x := make(chan bool, 1)":         nil,
		"x := make([]T, 1, 7)":            {"x := make([]T, 2, 7)"},
	} {
		all, err := mutateGo("x.go", "package x\nfunc f() error {\n"+source+"\n}")
		if got := changes(all); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v\ngot  %q\nwant %q", source, err, got, want)
		}
	}
}

// A seed draws one sample, and mutants of one line stand far from each other in it.
func TestSample(t *testing.T) {
	t.Parallel()
	all, err := mutants("../..")
	if err != nil {
		t.Fatal(err)
	}
	draw := func(seed uint64) []mutant { return sample(all, rand.New(rand.NewPCG(seed, 0))) }
	one, again, other := draw(1), draw(1), draw(2)
	same := func(a, b mutant) bool { return a.name == b.name }
	if !slices.EqualFunc(one, again, same) || slices.EqualFunc(one, other, same) || len(one) < 5000 {
		t.Errorf("%d mutants; a seed must decide on the sample, and nothing else", len(one))
	}
	lines := make(map[string]bool)
	for _, m := range one[:1000] {
		at := fmt.Sprint(m.file, m.line)
		if m.good == m.bad || lines[at] {
			t.Errorf("%s: no change, or a line that was drawn before others had their turn", m.name)
		}
		lines[at] = true
	}
}

// An explained mutant whose line is gone or has changed has to be looked at again.
func TestEquivalentsAreOfThisCode(t *testing.T) {
	t.Parallel()
	known, err := readEquivalents("equivalent.txt")
	if err != nil {
		t.Fatal(err)
	}
	all, err := mutants("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range known {
		places := 0
		for _, m := range all[e.file] {
			if m.was == e.was && m.is == e.is {
				places++
			}
		}
		switch {
		case all[e.file] == nil:
			t.Errorf("equivalent.txt: no mutants are made of %q: it must be a path of a source from the root, without a line's number", e.file)
		case places == 0:
			t.Errorf("equivalent.txt: no mutant of %s makes %q of %q: the line has changed, or that mutant is not made ('-list -n all -in %s' lists those that are)", e.file, e.is, e.was, e.file)
		case places > 1:
			t.Errorf("equivalent.txt: %q is made of %q in %d places of %s: one reason can't be for all of them", e.is, e.was, places, e.file)
		}
	}
}

func TestEntriesThatSayNoReasonAreRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.txt")
	for text, ok := range map[string]bool{
		"a.lua\n- x\n+ y\nbecause\nof this\n": true, "# nothing\n\n": true, "a.lua\n- x\n+\nbecause\n": true,
		"a.lua\n- x\n+ y\n": false, "a.lua\n+ y\nbecause\n": false, "a.lua\n- x\nbecause\n": false,
		"a.lua\n- x\n+ y\nbecause\nb.lua\n- x\n+ y\nbecause\n": false, "a.lua\n\n- x\n+ y\nbecause\n": false,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if all, err := readEquivalents(path); (err == nil) != ok {
			t.Errorf("%q: %+v, %v", text, all, err)
		}
	}
}
