package defect

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Own tests come first, then others', quick ones before slow ones, and the simulator last.
func TestStages(t *testing.T) {
	t.Parallel()
	of := func(name string, took time.Duration) test { return test{name: name, took: took} }
	n := &Net{suites: []*suite{
		{pkg: "lease", tests: []test{of("TestL", 10*time.Millisecond)}},
		{pkg: "dispatcher", tests: []test{of("TestA", 900*time.Millisecond), of("TestB", 900*time.Millisecond),
			of("TestC", 900*time.Millisecond), of("TestD", 900*time.Millisecond), of("TestE", 900*time.Millisecond), of("TestSlow", 5*time.Second)}},
		{pkg: "worker", tests: []test{of("TestW", 10*time.Millisecond), of("TestLong", 2*time.Second)}},
		{pkg: "worker", tests: []test{of("TestSimulation", time.Minute)}, last: true},
	}, uses: map[string]map[string]bool{
		"lease": {"lease": true}, "dispatcher": {"lease": true, "dispatcher": true}, "worker": {"lease": true, "dispatcher": true, "worker": true},
	}}
	for pkg, want := range map[string]string{
		"worker":     "[TestW] [TestLong] [TestSimulation]",
		"dispatcher": "[TestA TestB TestC TestD] [TestE] [TestSlow] [TestW] [TestLong] [TestSimulation]",
		"internal/x": "[TestL] [TestA TestB TestC TestD] [TestE] [TestSlow] [TestW] [TestLong] [TestSimulation]",
	} {
		var got []string
		for _, s := range n.stages(pkg, func(test) bool { return true }) {
			var names []string
			for _, t := range s.tests {
				names = append(names, t.name)
			}
			got = append(got, fmt.Sprint(names))
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", pkg, got, want)
		}
	}
}

func TestWhatARunSays(t *testing.T) {
	t.Parallel()
	for out, want := range map[string]string{
		"--- FAIL: TestA (0.1s)\n    --- FAIL: TestA/x\n": "TestA", "panic: test timed out after 1s\n\trunning tests:\n\t\tTestB (1s)\n--- FAIL: TestA": "TestB",
		"panic: nil\n": dies, "goroutines left behind: x\n": "goroutines left behind: x",
	} {
		if got := noticed(out); got != want {
			t.Errorf("%q says %q, want %q", out, got, want)
		}
	}
	got := costs("--- PASS: TestSlow (2.50s)\n    --- PASS: TestSlow/x (0.10s)\n--- PASS: TestQuick (0.00s)\n--- SKIP: TestNone (0.00s)\n")
	if fmt.Sprint(got) != "[{TestQuick 0 map[]  false} {TestSlow 2600000000 map[]  false}]" {
		t.Errorf("costs %v", got)
	}
}

// A test that does not run what is changed is left out; one of which nobody knows is not.
func TestReach(t *testing.T) {
	t.Parallel()
	const in = module + "dispatcher/a.go:"
	blocks, ran := readReach("mode: set\n" + in + "1.2,3.4 2 1\n" + in + "5.1,6.2 1 0\n")
	n := &Net{blocks: blocks}
	for bad, want := range map[string]bool{"1\nX\n3\n4\n5\n6\n7\n": true, "1\n2\n3\n4\nX\n6\n7\n": false, "1\n2\n3\n4\n5\n6\nX\n": true, "1\n2\n6\n7\n": true} {
		notices := n.noticing(Defect{File: "dispatcher/a.go", Good: "1\n2\n3\n4\n5\n6\n7\n", Bad: bad})
		if got := notices(test{ran: ran}); got != want {
			t.Errorf("%q is noticed: %v", bad, got)
		}
		if !notices(test{}) {
			t.Errorf("%q is not noticed by a test of which nothing is known", bad)
		}
	}
}

// It is known who calls a script.
func TestWhoCallsAScript(t *testing.T) {
	t.Parallel()
	notices := (&Net{}).noticing(Defect{File: "dispatcher/turn.lua", Good: "good", Bad: "bad"})
	if notices(test{ran: reach{}, scripts: "others"}) || !notices(test{ran: reach{}, scripts: "a good one"}) || !notices(test{}) {
		t.Error("its callers are not told from others")
	}
}

// A case is asked by all who come to its switch.
func TestSwitchOf(t *testing.T) {
	t.Parallel()
	const text = "\tswitch x {\n\tcase 1:\n\t\tswitch {\n\t\tcase y:\n\t\t}\n\tcase 2:\n\t}\n"
	for line, want := range map[int]int{1: 1, 2: 1, 3: 3, 4: 3, 5: 5, 6: 1, 7: 7} {
		if got := switchOf(text, line); got != want {
			t.Errorf("line %d is of the switch in line %d, want %d", line, got, want)
		}
	}
}
