package arch

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The example in the README compiles as it stands.
func TestReadmeExampleCompiles(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile("(?s)```go\n(.*?)```").FindSubmatch(readme)
	if code == nil {
		t.Fatal("the README has no Go example")
	}
	dir := t.TempDir()
	source, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	// The overlay makes it a command of this module without a file in the tree.
	replace, _ := json.Marshal(map[string]map[string]string{
		"Replace": {filepath.Join(root, "cmd", "readme", "main.go"): source},
	})
	for path, text := range map[string][]byte{source: code[1], overlay: replace} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-overlay", overlay, "-o", filepath.Join(dir, "readme"), "./cmd/readme")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("the README's example does not compile: %v\n%s", err, out)
	}
}

// The page on tests shows a service and its tests as they run in examples/deploys.
func TestPageOnTestsIsTheExample(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/features/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"deploys.go", "deploys_test.go"} {
		code, err := os.ReadFile("../../examples/deploys/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(page), "```go\n"+string(code)+"```\n") {
			t.Errorf("docs/features/testing.md does not have examples/deploys/%s as it is", name)
		}
	}
}

// So do the examples of the pages on features.
func TestFeatureExamplesCompile(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	pages, _ := filepath.Glob(filepath.Join(root, "docs/features/*.md"))
	dir, replace := t.TempDir(), make(map[string]string)
	for _, page := range pages {
		name := strings.TrimSuffix(filepath.Base(page), ".md")
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		codes := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(text, -1)
		if codes == nil && name != "README" {
			t.Errorf("%s has no example", page)
		}
		for i, code := range codes { // each is a file by itself
			source := filepath.Join(dir, fmt.Sprintf("%s%d.go", name, i))
			if err := os.WriteFile(source, code[1], 0o600); err != nil {
				t.Fatal(err)
			}
			replace[filepath.Join(root, "internal", "docs", fmt.Sprint(name, i), "page.go")] = source
		}
	}
	if len(replace) < 13 {
		t.Errorf("%d pages with examples, want one for each feature", len(replace))
	}
	overlay := filepath.Join(dir, "overlay.json")
	text, _ := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"build", "-overlay", overlay}
	for path := range replace {
		args = append(args, "./"+filepath.ToSlash(strings.TrimPrefix(filepath.Dir(path), root+"/")))
	}
	build := exec.Command("go", args...)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("an example does not compile: %v\n%s", err, out)
	}
}
