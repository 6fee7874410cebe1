package redistest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Sentinels are three Sentinels that watch a master and its replica.
type Sentinels struct {
	Master, Replica *Server
	addrs           []string
}

// OwnSentinels starts them for one test, and waits until they know each other.
func OwnSentinels(t testing.TB) *Sentinels {
	t.Helper()
	g := &Sentinels{Master: Own(t, "--appendonly", "yes", "--repl-diskless-sync-delay", "0")}
	g.Replica = Replica(t, g.Master, "--appendonly", "yes")
	host, port, _ := net.SplitHostPort(g.Master.Addr)
	for range 3 {
		dir := filepath.Join(t.TempDir(), "sentinel")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		conf := filepath.Join(dir, "sentinel.conf") // which it rewrites
		text := fmt.Sprintf("sentinel monitor lanes %s %s 2\nsentinel down-after-milliseconds lanes 1000\n"+
			"sentinel failover-timeout lanes 5000\n", host, port)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := start(dir, conf, "--sentinel")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Kill)
		g.addrs = append(g.addrs, s.Addr)
		Until(t, "the Sentinels know each other", func() bool {
			info, err := s.Do("info", "sentinel")
			return err == nil && strings.Contains(fmt.Sprint(info), "slaves=1,sentinels="+fmt.Sprint(len(g.addrs)))
		})
	}
	return g
}

// URL returns the address for --redis.
func (g *Sentinels) URL() string {
	return "redis+sentinel://" + strings.Join(g.addrs, ",") + "/lanes"
}
