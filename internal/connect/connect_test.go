package connect

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]struct {
		addrs    []string
		user     string
		tls      bool
		sentinel bool
	}{
		"":                                            {addrs: []string{"127.0.0.1:6379"}},
		"redis://localhost":                           {addrs: []string{"localhost:6379"}},
		"rediss://u:p%40x@h:1/3":                      {addrs: []string{"h:1"}, user: "u", tls: true},
		"unix:///tmp/redis.sock":                      {addrs: []string{"/tmp/redis.sock"}},
		"redis+cluster://h:1":                         {addrs: []string{"h:1"}},
		"redis+cluster://u:p@h:1,h2,[::1]:3":          {addrs: []string{"h:1", "h2:6379", "[::1]:3"}, user: "u"},
		"rediss+cluster://h:1,h2:2":                   {addrs: []string{"h:1", "h2:2"}, tls: true},
		"redis://h:1,h2:2":                            {addrs: []string{"h:1", "h2:2"}},
		"redis+sentinel://u:p@h:1,h2:2/lanes/1":       {user: "u", sentinel: true},
		"rediss+sentinel://h:1,h2:2/lanes":            {tls: true, sentinel: true},
		"redis+cluster://h:1,h2:2?dial_timeout=100ms": {addrs: []string{"h:1", "h2:2"}},
	} {
		rdb, err := Parse(address)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		switch c := rdb.(type) {
		case *redis.ClusterClient:
			o := c.Options()
			if !slices.Equal(o.Addrs, want.addrs) || o.Username != want.user || (o.TLSConfig != nil) != want.tls || want.sentinel {
				t.Errorf("%s: cluster %v, user %q, TLS %t", address, o.Addrs, o.Username, o.TLSConfig != nil)
			}
			if o.TLSConfig != nil && o.TLSConfig.ServerName != "" {
				t.Errorf("%s: every node would have to be %s", address, o.TLSConfig.ServerName)
			}
		case *redis.Client:
			o := c.Options()
			if FollowsSentinels(c) != want.sentinel || !want.sentinel && o.Addr != want.addrs[0] ||
				o.Username != want.user || (o.TLSConfig != nil) != want.tls {
				t.Errorf("%s: %s, user %q, TLS %t", address, o.Addr, o.Username, o.TLSConfig != nil)
			}
		}
		_ = rdb.Close()
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		" ", "localhost:6379", "http://u:secret@h", "redis+sentinel://u:secret@h:1", "redis+sentinel://u:secret@h:1/",
		"redis+cluster://u:secret@h:1,h2:2/3", "redis+nonsense://u:secret@h", "redis://u:secret@h:port", "unix+cluster:///x", "redis+cluster://u:secret@h:1,h2:no",
		"u:secret@redis://h", ":secret@redis://h", "secret%zz://h",
	} {
		rdb, err := Parse(address)
		if err == nil {
			t.Errorf("%q is taken", address)
			_ = rdb.Close()
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error about %q shows the password: %v", address, err)
		}
	}
}

func TestPassing(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"TRYAGAIN Multiple keys request during rehashing of slot": true, "CLUSTERDOWN The cluster is down": true,
		"READONLY You can't write against a read only replica.": true, "LOADING Redis is loading": true,
		"OOM command not allowed": false, "WRONGTYPE Operation": false, "ERR unknown": false, "NOPERM no": false, "NOSCRIPT No": false,
	} {
		if Passing(redis.NewCmdResult(nil, errorReply(text)).Err()) != want {
			t.Errorf("Passing(%q) = %t", text, !want)
		}
	}
}

// errorReply is an error that a server answered with.
type errorReply string

func (e errorReply) Error() string { return string(e) }
func (errorReply) RedisError()     {}

// Every form of address says which parameter it does not know, gives the Sentinels a password
// of their own, and names no secret when it can't be read.
func TestD9_Addresses(t *testing.T) {
	t.Parallel()
	for address, says := range map[string]string{
		"redis://u:secret@h?nope=1":                      "nope",
		"unix:///tmp/redis.sock?nope=1":                  "nope",
		"redis+cluster://u:secret@h:1,h2:2?nope=1":       "nope",
		"redis+sentinel://u:secret@h:1/lanes?nope=1":     "nope",
		"redis://h?sentinel_password=secret":             "sentinel_password",
		"redis://h?skip_verify=true":                     "skip_verify",
		"redis://h?dial_timeout=secret":                  "dial_timeout",
		"redis://u:sec/secret@h:1":                       "percent-encode",
		"redis://u:6379/secret@h:1":                      "percent-encode",
		"redis://u:6379?secret@h:1":                      "percent-encode",
		"redis://u:6379#secret@h:1":                      "percent-encode",
		"redis://u:secret%zz@h:1":                        "percent-encode",
		"redis://u:secret@h:1\n":                         "percent-encode",
		`"redis://u:secret@h:1"`:                         "percent-encode",
		"redis+sentinel://u:6379?secret@h:1,h2:2/lanes/": "percent-encode",
	} {
		rdb, err := Parse(address)
		if err == nil {
			t.Errorf("%q is taken", address)
			_ = rdb.Close()
			continue
		}
		if !strings.Contains(err.Error(), says) || says != "dial_timeout" && strings.Contains(err.Error(), "secret") && says != "sentinel_password" {
			t.Errorf("%q: %v; want %q and no secret", address, err, says)
		}
	}
	for _, address := range []string{
		"redis://u:p@h?max_retries=5&client_name=me&pool_timeout=2s&db=1", "unix://u:p@/tmp/a@b.sock?max_retries=5&client_name=me&pool_timeout=2s&db=1",
		"redis+sentinel://u:p@h:1,h2:2/lanes/1?sentinel_username=su&sentinel_password=s%2Fp&max_retries=5&client_name=me&pool_timeout=2s",
		"redis+cluster://u:p@h:1,h2:2?max_retries=5&client_name=me&pool_timeout=2s",
	} {
		rdb, err := Parse(address)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		switch c := rdb.(type) {
		case *redis.Client:
			o := c.Options()
			if o.MaxRetries != 5 || o.ClientName != "me" || o.PoolTimeout != 2*time.Second || o.DB != 1 || o.Password != "p" {
				t.Errorf("%s: options are dropped: %+v", address, o)
			}
		case *redis.ClusterClient:
			o := c.Options()
			if o.MaxRetries != 5 || o.ClientName != "me" || o.PoolTimeout != 2*time.Second || o.Password != "p" {
				t.Errorf("%s: options are dropped: %+v", address, o)
			}
		}
		_ = rdb.Close()
	}
}

// Sentinels get the password that is theirs, and not that of the master.
func TestD9_SentinelsGetTheirPassword(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	heard := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		text := make([]byte, 1024)
		n, _ := conn.Read(text)
		_ = l.Close() // else it would be asked again, and again
		heard <- string(text[:n])
	}()
	rdb, err := Parse("redis+sentinel://mu:mp@" + l.Addr().String() + "/lanes?sentinel_username=su&sentinel_password=s%2Fp")
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	ctx, enough := context.WithCancel(t.Context())
	defer enough()
	go rdb.Ping(ctx)
	got := <-heard
	if !strings.Contains(got, "su\r\n") || !strings.Contains(got, "s/p\r\n") || strings.Contains(got, "mp") {
		t.Errorf("a Sentinel is told %q", got)
	}
}
