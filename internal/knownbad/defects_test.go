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
	for _, d := range defects {
		text, err := os.ReadFile(filepath.Join("../..", d.file))
		if n := strings.Count(string(text), d.good); err != nil || n != 1 {
			t.Errorf("%s: what it changes in %s is there %d times, not once (%v)", d.name, d.file, n, err)
		}
	}
}
