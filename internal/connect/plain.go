package connect

import (
	"bufio"
	"errors"
	"net"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Plain returns what the server behind an address says to a PING without TLS and without a
// password, or that it closed the connection without a word: for a remark on a connection
// that failed. It is asked for a second at most, and only one that the address names as a
// single server.
func Plain(address string) (line string, closed bool) {
	opts, err := redis.ParseURL(address)
	if err != nil || opts.Network != "tcp" {
		return "", false
	}
	conn, err := net.DialTimeout("tcp", opts.Addr, time.Second)
	if err != nil {
		return "", false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	_, _ = conn.Write([]byte("PING\r\n")) // one that is full says so before, and closes
	line, err = bufio.NewReaderSize(conn, 256).ReadString('\n')
	if line = strings.TrimSpace(line); strings.HasPrefix(line, "+") || strings.HasPrefix(line, "-") {
		return line, false
	}
	return "", err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}
