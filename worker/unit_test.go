package worker

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// The systemd unit of a release gives a worker the time that docs/operations.md says it may take, under the defaults, and
// tells the worker alone to stop.
func TestUnitWaitsForTheWorker(t *testing.T) {
	t.Parallel()
	unit, err := os.ReadFile("../internal/dist/lanekeeper@.service")
	if err != nil {
		t.Fatal(err)
	}
	c := Config{}.withDefaults()
	needs := c.StopTimeout + c.LeaseTTL/5 + 6*time.Second
	for _, line := range []string{
		fmt.Sprintf("TimeoutStopSec=%d", int(needs.Seconds())), "KillMode=mixed", "KillSignal=SIGTERM",
		fmt.Sprintf("the stop timeout (%s), ", c.StopTimeout), fmt.Sprintf("lease TTL (%s)", c.LeaseTTL),
	} {
		if !strings.Contains(string(unit), line) {
			t.Errorf("the unit does not say %q:\n%s", line, unit)
		}
	}
}
