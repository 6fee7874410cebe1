package arch

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What docs/testing.md has a row for, each with each other.
var features = []string{
	"hand", "batch", "cancel", "suspend job", "suspend lane", "halt", "skip", "unique", "keep", "limit", "rate", "blame", "section", "replay", "delay", "stop",
}

// Every two features have a test that is there, or a reason why they can't meet: an empty cell, or one whose test
// was renamed, is a hole that nobody sees.
func TestEveryTwoFeaturesMeet(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Features meet\n")
	section, _, _ = strings.Cut(section, "\n## ")
	shown := make(map[[2]string]string)
	for _, row := range regexp.MustCompile(`(?m)^\| ([a-z ]+) \| ([a-z ]+) \| (.*) \|$`).FindAllStringSubmatch(section, -1) {
		pair := [2]string{row[1], row[2]}
		if _, twice := shown[pair]; twice || !slices.Contains(features, row[1]) || !slices.Contains(features, row[2]) {
			t.Errorf("a row too many, or of an unknown feature: %v", pair)
		}
		shown[pair] = row[3]
	}
	tests := declaredTests(texts(t), "dispatcher", "dispatcher/session", "worker")
	for i, a := range features {
		for _, b := range features[i+1:] {
			cell := shown[[2]string{a, b}]
			named := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(cell, -1)
			if len(named) == 0 && len(strings.Fields(cell)) < 5 {
				t.Errorf("%s and %s: neither a test nor a reason: %q", a, b, cell)
			}
			for _, test := range named {
				if !tests[test[1]] {
					t.Errorf("%s and %s: there is no %s", a, b, test[1])
				}
			}
		}
	}
}
