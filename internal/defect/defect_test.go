package defect

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Own quick tests come first, then others', then what takes longer, and the simulator last.
func TestStages(t *testing.T) {
	t.Parallel()
	of := func(name string, took time.Duration) test { return test{name, took} }
	n := &Net{suites: []*suite{
		{pkg: "lease", tests: []test{of("TestL", 10*time.Millisecond)}},
		{pkg: "dispatcher", tests: []test{of("TestA", 900*time.Millisecond), of("TestB", 900*time.Millisecond),
			of("TestC", 900*time.Millisecond), of("TestD", 900*time.Millisecond), of("TestE", 900*time.Millisecond), of("TestSlow", 5*time.Second)}},
		{pkg: "worker", tests: []test{of("TestW", 10*time.Millisecond), of("TestLong", 2*time.Second)}},
		{pkg: "worker", tests: []test{of("TestSimulation", time.Minute)}, last: true},
	}}
	for pkg, want := range map[string]string{
		"worker":     "[TestW] [TestLong] [TestSimulation]",
		"dispatcher": "[TestA TestB TestC TestD] [TestE] [TestW] [TestSlow] [TestLong] [TestSimulation]",
		"internal/x": "[TestL] [TestA TestB TestC TestD] [TestE] [TestW] [TestSlow] [TestLong] [TestSimulation]",
	} {
		var got []string
		for _, s := range n.stages(pkg) {
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
	if fmt.Sprint(got) != "[{TestQuick 0} {TestSlow 2600000000}]" {
		t.Errorf("costs %v", got)
	}
}
