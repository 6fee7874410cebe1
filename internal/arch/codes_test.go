package arch

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every code that a comment or a page gives for what it holds has its line in the legend.
func TestD9_CodesHaveALegend(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	_, legend, found := strings.Cut(string(page), "## The codes")
	if !found {
		t.Fatal("docs/guarantees.md has no legend")
	}
	codes, one := regexp.MustCompile(`\(([GLBCUD]\d+(?:, [GLBCUD]\d+)*)\)`), regexp.MustCompile(`[A-Z]\d+`)
	seen := 0
	err = filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		isPage := strings.HasSuffix(path, ".md") && strings.Contains(path, "docs/")
		isCode := strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go")
		if err != nil || d.IsDir() || !isPage && !isCode {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range codes.FindAllString(string(text), -1) {
			for _, code := range one.FindAllString(m, -1) {
				seen++
				if !strings.Contains(legend, "| "+code+" |") {
					t.Errorf("%s has the code %s, which docs/guarantees.md does not explain", path, code)
				}
			}
		}
		return err
	})
	if err != nil || seen < 15 {
		t.Errorf("%d codes were seen: %v", seen, err)
	}
}
