package dispatcher_test

import (
	"fmt"
	"sort"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

func sortedStrings(s []string) []string {
	sort.Strings(s)
	return s
}

// dump returns all that is stored in a namespace, except memories of requests and
// wake-up hints, as text that two states can be compared by.
func dump(t *testing.T, rdb *redis.Client, namespace string) string {
	t.Helper()
	var out []string
	iter := rdb.Scan(bg, 0, "{"+namespace+"*", 1000).Iterator()
	for iter.Next(bg) {
		k := iter.Val()
		if strings.Contains(k, "}:request:") || strings.Contains(k, "}:wake:") {
			continue
		}
		var v any
		switch kind := rdb.Type(bg, k).Val(); kind {
		case "hash":
			v = rdb.HGetAll(bg, k).Val()
		case "list":
			v = rdb.LRange(bg, k, 0, -1).Val()
		case "zset":
			v = rdb.ZRangeWithScores(bg, k, 0, -1).Val()
		case "set":
			v = sortedStrings(rdb.SMembers(bg, k).Val())
		case "stream":
			v = rdb.XRange(bg, k, "-", "+").Val()
		default:
			t.Fatalf("key %q has type %s", k, kind)
		}
		out = append(out, fmt.Sprintf("%q %q", k, fmt.Sprint(v)))
	}
	sort.Strings(out)
	return strings.Join(out, "\n")
}
