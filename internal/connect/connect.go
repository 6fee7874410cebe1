// Package connect makes go-redis clients with the settings that Lanekeeper wants:
// no identity and maintenance-notification commands, which old servers and the
// embedded one answer with errors, and contexts that end reads. It knows what one
// server, a cluster and a Sentinel group have in common, and where they differ.
package connect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Default is the address that an empty one stands for.
const Default = "redis://127.0.0.1:6379"

// Forms are the addresses that [Parse] takes.
const Forms = "redis://[user:password@]host:port[/db], rediss://… (TLS), unix://path, " +
	"redis+cluster://host:port,host:port or redis+sentinel://host:port,host:port/master"

const encode = "percent-encode what is special in a user's name or password: / is %2F, # is %23, ? is %3F, % is %25, @ is %40"

var (
	errForm   = errors.New("the Redis address is not of the form " + Forms + "; " + encode)
	errSpaces = errors.New("the Redis address has a quote, a space or a line break in it; where that is part of a password, percent-encode it")
)

// Parse returns a client for an address, and for [Default] when it is empty. With '+cluster' after the scheme, or several
// hosts, it is that of a Redis Cluster, of which any node may be named; with '+sentinel'
// that of the master which the Sentinels at the hosts watch under the name in the path; the
// parameters sentinel_username and sentinel_password are for the Sentinels themselves. A
// parameter that is not known is an error, for every form of address.
// The error never shows the address: it may hold a password.
func Parse(address string) (redis.UniversalClient, error) {
	address = cmp.Or(address, Default)
	switch {
	case strings.ContainsAny(address, "\"' \t\r\n"):
		return nil, errSpaces
	case strings.Contains(address, "#"): // what stands behind it would be dropped
		return nil, errForm
	}
	scheme, rest, ok := strings.Cut(address, "://")
	scheme, kind, _ := strings.Cut(scheme, "+")
	known := scheme == "redis" || scheme == "rediss" || scheme == "unix" // of others an error of theirs would show all
	if !ok || !known || kind != "" && scheme == "unix" {
		return nil, errForm
	}
	authority, path := rest, ""
	if at := strings.IndexAny(rest, "/?"); at >= 0 && scheme != "unix" {
		authority, path = rest[:at], rest[at:]
	}
	user, list := cutUser(authority)
	if strings.Contains(path, "@") { // a / or ? within a password has ended the hosts
		return nil, errForm
	}
	path, query, sentinel, err := parameters(scheme, path, kind == "sentinel")
	if err != nil {
		return nil, err
	}
	hosts := strings.Split(list, ",")
	if scheme == "unix" {
		user, hosts = "", []string{authority}
		if hosts[0], query, sentinel, err = parameters(scheme, authority, false); err != nil {
			return nil, err
		}
	}
	master := ""
	if kind == "sentinel" {
		master, path, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/")
		path = "/" + path
	}
	opts, err := redis.ParseURL(scheme + "://" + user + hosts[0] + path + query)
	if err != nil {
		return nil, errForm
	}
	addrs, err := addresses(scheme, hosts)
	if err != nil {
		return nil, err
	}
	if opts.TLSConfig != nil && (kind != "" || len(hosts) > 1) {
		opts.TLSConfig.ServerName = "" // each server's own name counts, not that of the first
	}
	switch {
	case kind == "" && len(hosts) == 1:
		return New(opts), nil
	case kind == "sentinel" && master != "":
		return newSentinel(opts, addrs, master, sentinel), nil
	case kind == "cluster" || kind == "":
		if opts.DB != 0 {
			return nil, errors.New("the Redis address names a database; a cluster has only one")
		}
		return newCluster(opts, addrs), nil
	}
	return nil, errForm
}

// cutUser parts the user, up to the @ behind it, from the hosts.
func cutUser(authority string) (user, hosts string) {
	at := strings.LastIndex(authority, "@") + 1 // 0 without a user
	return authority[:at], authority[at:]
}

// addresses are those of hosts, each with its port.
func addresses(scheme string, hosts []string) ([]string, error) {
	addrs := make([]string, len(hosts))
	for i, host := range hosts {
		one, err := redis.ParseURL(scheme + "://" + host)
		if err != nil {
			return nil, errForm
		}
		addrs[i] = one.Addr
	}
	return addrs, nil
}

// parameters splits the query off an address, without what is for Sentinels only.
func parameters(scheme, address string, sentinels bool) (path, query string, sentinel url.Userinfo, err error) {
	path, query, _ = strings.Cut(address, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", "", sentinel, errForm
	}
	if sentinels {
		sentinel = *url.UserPassword(values.Get("sentinel_username"), values.Get("sentinel_password"))
		values.Del("sentinel_username")
		values.Del("sentinel_password")
	}
	if query = ""; len(values) > 0 {
		query = "?" + values.Encode()
	}
	// What is wrong with a parameter does not depend on the rest of the address, which no
	// error may show.
	if _, err := redis.ParseURL(scheme + "://localhost/0" + query); err != nil {
		text := strings.TrimPrefix(err.Error(), "redis: ")
		return "", "", sentinel, fmt.Errorf("the parameters of the Redis address are not understood: %s", text)
	}
	return path, query, sentinel, nil
}

// unnotified asks for no maintenance notifications.
func unnotified() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// New returns a client for opts, which it changes.
func New(opts *redis.Options) *redis.Client {
	opts.ContextTimeoutEnabled, opts.DisableIdentity, opts.MaintNotificationsConfig = true, true, unnotified()
	return redis.NewClient(opts)
}

// newCluster returns a client of the cluster that the nodes at addrs belong to.
func newCluster(opts *redis.Options, addrs []string) *redis.ClusterClient {
	return redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: addrs, Username: opts.Username, Password: opts.Password, TLSConfig: opts.TLSConfig, ClientName: opts.ClientName,
		MinRetryBackoff: opts.MinRetryBackoff, MaxRetryBackoff: opts.MaxRetryBackoff, MaxRetries: opts.MaxRetries,
		DialTimeout: opts.DialTimeout, ReadTimeout: opts.ReadTimeout, WriteTimeout: opts.WriteTimeout, Protocol: opts.Protocol,
		PoolFIFO: opts.PoolFIFO, PoolSize: opts.PoolSize, PoolTimeout: opts.PoolTimeout, MinIdleConns: opts.MinIdleConns,
		MaxIdleConns: opts.MaxIdleConns, MaxActiveConns: opts.MaxActiveConns, ConnMaxIdleTime: opts.ConnMaxIdleTime,
		ConnMaxLifetime:       opts.ConnMaxLifetime,
		DialerRetries:         1, // a node that refuses may have a successor: ask the others soon
		ContextTimeoutEnabled: true, DisableIdentity: true, MaintNotificationsConfig: unnotified(),
	})
}

func newSentinel(opts *redis.Options, addrs []string, master string, sentinel url.Userinfo) *redis.Client {
	password, _ := sentinel.Password()
	return redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: master, SentinelAddrs: addrs, SentinelUsername: sentinel.Username(), SentinelPassword: password,
		Username: opts.Username, Password: opts.Password, DB: opts.DB, TLSConfig: opts.TLSConfig, ClientName: opts.ClientName,
		MinRetryBackoff: opts.MinRetryBackoff, MaxRetryBackoff: opts.MaxRetryBackoff, MaxRetries: opts.MaxRetries,
		DialTimeout: opts.DialTimeout, ReadTimeout: opts.ReadTimeout, WriteTimeout: opts.WriteTimeout, Protocol: opts.Protocol,
		PoolFIFO: opts.PoolFIFO, PoolSize: opts.PoolSize, PoolTimeout: opts.PoolTimeout, MinIdleConns: opts.MinIdleConns,
		MaxIdleConns: opts.MaxIdleConns, MaxActiveConns: opts.MaxActiveConns, ConnMaxIdleTime: opts.ConnMaxIdleTime,
		ConnMaxLifetime:       opts.ConnMaxLifetime,
		ContextTimeoutEnabled: true, DisableIdentity: true,
	})
}

// Known reports whether rdb is a client that the rest of this package can deal with.
func Known(rdb redis.UniversalClient) bool {
	switch rdb.(type) {
	case *redis.Client, *redis.ClusterClient:
		return true
	}
	return false
}

// IsCluster reports whether keys live on several servers.
func IsCluster(rdb redis.UniversalClient) bool {
	_, ok := rdb.(*redis.ClusterClient)
	return ok
}

// Dedicated returns a client like rdb, with at most conns connections of its own to
// a server, whose reads give up after timeout and at their context's deadline. One
// server is asked only once; a cluster is followed to where a key has moved.
func Dedicated(rdb redis.UniversalClient, conns int, timeout time.Duration) redis.UniversalClient {
	if cluster, ok := rdb.(*redis.ClusterClient); ok {
		opts := *cluster.Options()
		opts.PoolSize, opts.MinIdleConns, opts.MaxIdleConns = conns, 0, 0
		opts.ReadTimeout, opts.ContextTimeoutEnabled = timeout, true
		return redis.NewClusterClient(&opts)
	}
	opts := *rdb.(*redis.Client).Options()
	opts.PoolSize, opts.MinIdleConns, opts.MaxIdleConns = conns, 0, 0
	opts.ReadTimeout, opts.ContextTimeoutEnabled = timeout, true
	opts.MaxRetries = -1
	if FollowsSentinels(rdb) {
		// Only rdb itself is told of a new master, and closes its old connections.
		opts.ConnMaxLifetime = timeout
	}
	return redis.NewClient(&opts)
}

// Dialer opens a connection.
type Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// Dialling returns a client like rdb, but for its hooks, that dials by what around makes of rdb's dialer; and so do those
// that [Dedicated] makes of it. It is for tests of outages: it dials once and not five times, so that a server that is away is
// known at once.
func Dialling(rdb redis.UniversalClient, around func(Dialer) Dialer) redis.UniversalClient {
	if cluster, ok := rdb.(*redis.ClusterClient); ok {
		opts := *cluster.Options()
		if opts.Dialer == nil {
			opts.Dialer = redis.NewDialer(&redis.Options{DialTimeout: opts.DialTimeout, TLSConfig: opts.TLSConfig})
		}
		opts.Dialer, opts.DialerRetries = around(opts.Dialer), 1
		return redis.NewClusterClient(&opts)
	}
	opts := *rdb.(*redis.Client).Options()
	opts.Dialer, opts.DialerRetries = around(opts.Dialer), 1
	return redis.NewClient(&opts)
}

// FollowsSentinels reports whether rdb is the client of the master that Sentinels name.
func FollowsSentinels(rdb redis.UniversalClient) bool {
	one, ok := rdb.(*redis.Client)
	return ok && one.Options().Addr == "FailoverClient" // as go-redis calls it
}

// Node returns the client of the one server that has a key.
func Node(ctx context.Context, rdb redis.UniversalClient, key string) (*redis.Client, error) {
	if cluster, ok := rdb.(*redis.ClusterClient); ok {
		return cluster.MasterForKey(ctx, key)
	}
	return rdb.(*redis.Client), nil
}

// Reload makes a cluster's client ask where its keys are now.
func Reload(ctx context.Context, rdb redis.UniversalClient) {
	if cluster, ok := rdb.(*redis.ClusterClient); ok {
		cluster.ReloadState(ctx)
	}
}

// Masters calls f for every server that takes writes, one after the other.
func Masters(ctx context.Context, rdb redis.UniversalClient, f func(*redis.Client) error) error {
	cluster, ok := rdb.(*redis.ClusterClient)
	if !ok {
		return f(rdb.(*redis.Client))
	}
	one := make(chan struct{}, 1)
	return cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		one <- struct{}{}
		defer func() { <-one }()
		return f(node)
	})
}

// passing are the errors by which a server says that it can't serve now, but that it or
// another one soon will: while it starts, while a replica is promoted, while a
// slot moves. None of them comes after a script's first write.
var passing = []string{
	"TRYAGAIN", "CLUSTERDOWN", "MOVED", "ASK", "READONLY", "LOADING", "MASTERDOWN", "NOREPLICAS", "BUSY", "UNBLOCKED",
}

// Passing reports whether err is one that passes by itself.
func Passing(err error) bool {
	for _, prefix := range passing {
		if redis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	return false
}
