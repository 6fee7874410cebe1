package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// The users of docs/operations.md can do what their part needs, and not more.
func TestACL(t *testing.T) {
	t.Parallel()
	s := redistest.Own(t)
	admin := redistest.ClientOf(t, s)
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	users := 0
	for _, l := range strings.Split(string(text), "\n") {
		if rest, ok := strings.CutPrefix(l, "user "); ok {
			args := []any{"acl", "setuser"}
			for _, word := range strings.Fields(rest) {
				args = append(args, word)
			}
			if err := admin.Do(t.Context(), args...).Err(); err != nil {
				t.Fatalf("%s: %v", l, err)
			}
			users++
		}
	}
	if users != 4 {
		t.Fatalf("docs/operations.md has %d users, want 4", users)
	}
	as := func(user string) *town {
		return &town{t: t, url: "redis://" + user + ":change-me@" + s.Addr, namespace: "lanekeeper", dir: t.TempDir()}
	}
	may := func(user string, args ...string) {
		t.Helper()
		if code, out, errOut := as(user).run(args...); code != 0 {
			log, _ := admin.Do(context.Background(), "acl", "log", 1).Result()
			t.Errorf("%s may not %v: exit %d\n%s%s%v", user, args, code, out, errOut, log)
		}
	}
	mayNot := func(user string, args ...string) {
		t.Helper()
		code, out, errOut := as(user).run(args...)
		if code != exitNoRedis || !strings.Contains(errOut, "permissions") && !strings.Contains(errOut, "NOPERM") {
			t.Errorf("%s may %v: exit %d\n%s%s", user, args, code, out, errOut)
		}
	}

	may("producer", "enqueue", "s:a", "k", "--id", "good")
	may("producer", "enqueue", "s:a", "k", "--id", "later", "--delay", "1s")
	may("producer", "enqueue", "s:b", "k", "--id", "bad", "--max-attempts", "1")
	mayNot("producer", "lane", "ls")
	mayNot("reader", "enqueue", "s:c", "k")
	may("reader", "lane", "ls")
	may("reader", "lane", "show", "s:a")
	may("reader", "stats")
	may("reader", "worker", "ls")
	may("reader", "doctor")

	program := "sh -c 'test $LANEKEEPER_JOB != bad'"
	may("worker", "work", "--handle", "k="+program, "--until-empty", "--lease-ttl", "1s")
	may("reader", "dead", "show", "bad")
	mayNot("reader", "dead", "discard", "bad")
	may("operator", "dead", "replay", "bad")
	may("worker", "work", "--handle", "k="+program, "--until-empty", "--lane-batch", "k=5")
	may("operator", "dead", "ls")
	if err := admin.Del(t.Context(), "{lanekeeper:0}:kinds", "{lanekeeper:1}:kinds").Err(); err != nil {
		t.Fatal(err)
	}
	may("operator", "doctor", "--fix")
	may("operator", "dead", "discard", "bad")

	may("producer", "exec", "s:a", "--", "true")
	may("producer", "enqueue", "s:u", "k", "--id", "u1", "--unique", "u", "--keep", "1h")
	may("producer", "enqueue", "s:u", "k", "--unique", "u")
	may("operator", "lane", "suspend", "s:u")
	mayNot("reader", "lane", "resume", "s:u")
	may("operator", "lane", "resume", "s:u")
	may("worker", "work", "--handle", "k="+program, "--until-empty", "--lease-ttl", "1s")
	may("producer", "enqueue", "s:u", "k", "--unique", "u", "--id", "u2", "--delay", "1h")
	may("operator", "job", "cancel", "u2")
	may("reader", "kind", "show", "k")

	for _, user := range []string{"producer", "worker", "operator", "reader"} {
		rdb := connect.New(&redis.Options{Addr: s.Addr, Username: user, Password: "change-me"})
		for _, cmd := range [][]any{
			{"flushall"}, {"keys", "*"}, {"get", "other"}, {"set", "other", "x"}, {"config", "set", "maxmemory", "1"},
			{"acl", "list"}, {"shutdown"}, {"eval", "return redis.call('flushall')", "0"}, {"script", "flush"}, {"client", "kill", "type", "normal"},
		} {
			if err := rdb.Do(t.Context(), cmd...).Err(); err == nil || !strings.Contains(err.Error(), "perm") && !strings.Contains(err.Error(), "NOPERM") && !strings.Contains(err.Error(), "can't run this command") {
				t.Errorf("%s may %v: %v", user, cmd, err)
			}
		}
		_ = rdb.Close()
	}
}

// rediss:// speaks TLS, and refuses a server that it can't be sure of.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lanekeeper test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "EC PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	redistest.Own(t, "--tls-port", port, "--tls-cert-file", certFile, "--tls-key-file", keyFile, "--tls-ca-cert-file", certFile, "--tls-auth-clients", "no")

	run := func(roots string, args ...string) (string, int) {
		cmd := exec.Command(built+"/lanekeeper", append([]string{"--redis", "rediss://127.0.0.1:" + port}, args...)...)
		cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+roots, "SSL_CERT_DIR="+dir+"/none")
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	if out, code := run(certFile, "enqueue", "s:a", "k"); code != 0 {
		t.Errorf("enqueue over TLS: exit %d\n%s", code, out)
	}
	if out, code := run(certFile, "work", "--handle", "k=true", "--until-empty"); code != 0 || !strings.Contains(out, "1 finished") {
		t.Errorf("work over TLS: exit %d\n%s", code, out)
	}
	if out, code := run(keyFile, "stats"); code == 0 || !strings.Contains(out, "certificate") {
		t.Errorf("a server with a certificate that nobody signed: exit %d\n%s", code, out)
	}
}
