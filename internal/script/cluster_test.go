package script

import (
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/subject"
)

// On a cluster every call declares a key that never exists: while its slot moves, Redis
// refuses such a script before it runs, and not in its middle (redis/redis#9526).
func TestClusterCallsDeclareAKeyThatNeverExists(t *testing.T) {
	t.Parallel()
	ns := subject.Namespace{Name: "n", Partitions: 1}
	never := ns.Keys(0).Request("")
	s := New("s", "return {}")
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	one := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer cluster.Close()
	defer one.Close()
	call := NewRunner(cluster, ns, nil).Once(0, s, []string{"tail"})
	tail, _ := call.args[12].(*string)
	if !slices.Contains(call.args[:call.keys], any(never)) || tail == nil || *tail != "tail" {
		t.Errorf("keys %q", call.args[:call.keys])
	}
	if call := NewRunner(one, ns, nil).Once(0, s, nil); slices.Contains(call.args[:call.keys], any(never)) {
		t.Errorf("one server gets a key more than it needs: %q", call.args[:call.keys])
	}
}
