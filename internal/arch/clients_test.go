package arch

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var makesClient = regexp.MustCompile(`\bredis\.(ParseURL|New\w*Client)\(`)

// An address becomes a client in internal/connect alone: the command and applications that are told the same
// address go to the same server with the same settings.
func TestClientsComeFromConnect(t *testing.T) {
	t.Parallel()
	files := 0
	for _, room := range append(rooms, "examples") {
		err := filepath.WalkDir("../../"+room, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files++
			text, err := os.ReadFile(path)
			if call := makesClient.Find(text); call != nil {
				t.Errorf("%s calls %s…): see connect.Parse", path, call)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 50 {
		t.Fatalf("read %d files", files)
	}
}
