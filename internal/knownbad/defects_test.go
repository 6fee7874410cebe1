package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a defect changes stands once in its file: a list that has fallen behind is found here, and
// not an hour into 'make known-bad'.
func TestDefectsFindTheirPlaces(t *testing.T) {
	t.Parallel()
	names := make(map[string]bool)
	for _, d := range defects {
		text, err := os.ReadFile(filepath.Join("../..", d.file))
		n := strings.Count(string(text), d.good)
		switch {
		case err != nil:
			t.Errorf("%s: %v", d.name, err)
		case n != 1:
			t.Errorf("%s: its text is %d times in %s and must be there once; copy it with its tabs", d.name, n, d.file)
		case d.good == d.bad:
			t.Errorf("%s changes nothing in %s", d.name, d.file)
		case d.name == "" || names[d.name]:
			t.Errorf("%q, of %s, is the name of no defect or of two", d.name, d.file)
		}
		names[d.name] = true
	}
}
