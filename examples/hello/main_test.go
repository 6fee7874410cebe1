package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/embedded"
)

// asCommand makes this test binary the command itself.
const asCommand = "LANEKEEPER_TEST_HELLO"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// The command runs its job under a token, and ends well when it is interrupted.
func TestHelloRunsItsJob(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), asCommand+"=1", "LANEKEEPER_REDIS="+server.URL())
	out, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	ran := regexp.MustCompile(`expiring artifact:42: it is old, token [1-9]\d{14,}\n`)
	var said bytes.Buffer
	for some := make([]byte, 4096); err == nil && !ran.Match(said.Bytes()); {
		var n int
		n, err = out.Read(some)
		said.Write(some[:n])
	}
	_ = cmd.Process.Signal(os.Interrupt)
	rest, _ := io.ReadAll(out)
	if ended := cmd.Wait(); err != nil || ended != nil {
		t.Errorf("it ended with %v, and said (%v):\n%s%s", ended, err, said.String(), rest)
	}
}

// A first program stays one that is read at a glance: 25 lines besides its imports.
func TestHelloIsShort(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, found := strings.Cut(string(text), "\npackage main\n")
	before, after, imports := strings.Cut(code, "\nimport (\n")
	_, after, ended := strings.Cut(after, "\n)\n")
	if !found || !imports || !ended {
		t.Fatal("its package clause or its imports are not found")
	}
	lines := 1 // the package clause
	for line := range strings.Lines(before + after) {
		if strings.TrimSpace(line) != "" {
			lines++
		}
	}
	if lines > 25 || lines < 10 {
		t.Errorf("it has %d lines, want 25 at most", lines)
	}
}
