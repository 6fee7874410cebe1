package lanes

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// D2: what is said at an end to a server that does not answer is waited for as long as the caller is there and no
// longer than said; when the caller's context has ended, for a moment only. It goes on by itself.
func TestD2_LastWordsEndWithTheirCaller(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ended      bool
		most, took time.Duration
	}{
		"a caller who is gone":      {true, LastWords, BeyondEnd},
		"a caller who waits":        {false, time.Second, time.Second},
		"a caller in a great hurry": {true, time.Millisecond, time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.ended {
				cancel()
			}
			said := make(chan struct{})
			begin := time.Now()
			err := Parting(ctx, c.most, func(ctx context.Context) error {
				defer close(said)
				<-ctx.Done() // nobody answers
				return ctx.Err()
			})
			if took := time.Since(begin); took != c.took || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, connect.ErrUnavailable) {
				t.Errorf("%s: it took %s, want %s; %v", name, took, c.took, err)
			}
			<-said
			if took := time.Since(begin); took != LastWords {
				t.Errorf("%s: it was said for %s, want %s", name, took, LastWords)
			}
		})
	}
}
