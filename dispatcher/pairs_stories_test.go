package dispatcher_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// tells makes a lane and its model go through stories, each of steps with commas between; after each
// story all that is left is worked off, in the order that the model has.
func tells(t *testing.T, rdb *redis.Client, stories []string) {
	t.Helper()
	w := newWalk(t, rdb)
	for _, story := range stories {
		for text := range strings.SplitSeq(story, ", ") {
			w.step(text)
		}
		w.settle()
	}
	w.empty()
}

// where a job j can stand, by the policy of its kind.
var places = []struct{ name, story string }{
	{"ready head", "put j KIND, put n KIND"},
	{"ready head that others follow", "put j KIND, put n block, put m KIND"},
	{"tail", "put p KIND, put j KIND, put n KIND"},
	{"waiting head or aside", "put j KIND, put n KIND, claim 1, fail 5000"},
	{"scheduled", "put j KIND 5000, put n KIND"},
	{"scheduled alone", "put j KIND 5000"},
	{"running", "put j KIND, put n KIND, claim 1"},
	{"running again", "put j KIND, claim 1, fail 0, put n KIND, claim 1"},
	{"behind a running one", "put p KIND, put j KIND, put n KIND, claim 1"},
	{"behind a batch", "put p KIND, put q KIND, put j KIND, put n KIND, claim 2"},
	{"claimed along", "put p KIND, put j KIND, put n KIND, claim 2"},
	{"come to in a batch", "put p KIND, put j KIND, put n KIND, claim 3, go"},
	{"failed in a batch", "put p KIND, put j KIND, put n KIND, claim 3, each fail fail finish"},
	{"behind a section", "section, put j KIND, put n KIND"},
	{"halted head or dead", "put j-once KIND, put n KIND, claim 1, fail 0"},
	{"dead", "put j-once KIND, put n KIND, claim 1, crash"},
	{"dead before others that ran along", "put p KIND, put j-once KIND, put m-once KIND, put n KIND, claim 3, crash"},
	{"in a suspended lane", "put j KIND, put n KIND, stop why"},
	{"in a lane that is to be suspended", "put p KIND, put j KIND, claim 1, stop why"},
	{"under a section, to be suspended", "section, put j KIND, put n KIND, stop why"},
	{"suspended head", "put j KIND, put n KIND, suspend j"},
	{"suspended tail", "put p KIND, put j KIND, put n KIND, suspend j"},
	{"suspended on the schedule", "put j KIND 5000, suspend j"},
	{"claimed along with its key", "put p KIND, put j KIND 0 waiting, put n KIND, claim 3"},
	{"has a key", "put p KIND, put j KIND 0 running, put n KIND"},
	{"has a key while it waits", "put j KIND 0 waiting, put n KIND, claim 1, put k KIND 0 waiting"},
}

// what is done to it, or beside it. A step that finds nothing to do is passed over, or refused as the model says.
var deeds = []string{
	"cancel j", "suspend j", "suspend j, resume j", "suspend j, pass 6000, resume j", "suspend j, cancel j",
	"stop", "stop, start", "stop why, stop, start", "stop, pass-by", "stop, cancel j, start", "cancel j, stop, start",
	"stop, suspend j, start", "suspend j, stop, resume j, start", "suspend j, stop, pass-by", "suspend j, pass-by",
	"front j", "front j-once", "rear j-once", "stop why, front j-once, start", "refund j", "refund j-once", "suspend j, refund j, resume j",
	"put x KIND 0 running", "put x KIND 0 waiting, put y KIND 0 running", "section", "leave", "leave, section",
	"put d KIND 1000, pass 2000", "pass 6000", "crash", "cancel p, crash", "cancel p, stop, crash, start", "cancel p, go", "stop, go, start, go",
	"finish", "fail 0", "fail 5000", "stop, fail 5000, start", "back", "die", "die, front j, rear p", "each fail back finish", "stop, each finish fail die",
	"cancel p, each back finish fail", "cancel j-once", "cancel j-once, start", "suspend j-once, start", "suspend j-once, resume j-once", "stop, back, start",
	"suspend j, claim 3, finish", "pass 6000, claim 3, crash", "fail 0, claim 3, back",
}

// Wherever a job stands, under each policy: whatever an operator, a holder, a caller or time does to it or to
// its lane, the lane is where it has to be, and so are its lease, marks, keys and waits; and then all runs in order.
func TestPairs_Stories(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		share, whole := 4, 1 // policies that are tried with all deeds, and which share with others
		if testing.Short() {
			share = 8
		}
		if strings.HasSuffix(t.Name(), "mini") { // which is slow, and has the same scripts
			share, whole = 16, 0
		}
		if redistest.Race {
			share, whole = 8*share, 0
		}
		for i, place := range places {
			t.Run(place.name, func(t *testing.T) {
				t.Parallel()
				for k, kind := range policies {
					var stories []string
					for n, deed := range deeds {
						if k >= whole && (i+k+n)%share != 0 {
							continue // a share of the others, in turn
						}
						stories = append(stories, strings.ReplaceAll(fmt.Sprint(place.story, ", ", deed), "KIND", kind))
					}
					tells(t, rdb, stories)
				}
			})
		}
	})
}
