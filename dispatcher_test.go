// Package lanekeeper_test replays the stories in testdata on a real Redis.
package lanekeeper_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/internal/story"
)

// With -rewrite the stories get the output that the code gives now. Only commit
// the difference if you understand what caused it.
var rewrite = flag.Bool("rewrite", false, "rewrite the outputs in testdata/*.txt")

func TestMain(m *testing.M) { redistest.Main(m) }

func TestStories(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) < 10 {
		t.Fatalf("found %d stories, want at least ten (%v)", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			replay(t, path)
		})
	}
}

func replay(t *testing.T, path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rdb := redistest.Client(t)
	world, err := story.NewWorld(t.Context(), rdb, redistest.Namespace(t, rdb))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = world.Close(context.Background()) })
	steps := story.Parse(string(text))
	if len(steps) == 0 {
		t.Fatal("the story has no steps")
	}
	for i, step := range steps {
		got := world.Run(t.Context(), step.Command)
		if got != step.Output && !*rewrite {
			t.Fatalf("after %q:\n%swant:\n%s", step.Command, got, step.Output)
		}
		steps[i].Output = got
	}
	if *rewrite {
		if err := os.WriteFile(path, []byte(story.Format(steps)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
