package move

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/maphash"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
)

// ExportOptions say how to export. The zero value is for a namespace whose workers are stopped.
type ExportOptions struct {
	// WhileRunning exports though workers live and jobs run. What moves meanwhile may be missing, or stand in two places of
	// which an import takes the first; a running attempt is not counted, so its job runs again. It is a picture, and no
	// backup.
	WhileRunning bool

	// Progress, if not nil, is told how many jobs are written, and of how many.
	Progress func(done, all int)
}

// Export writes all of a namespace to w: declared kinds, limits, jobs in the order of their lanes with their attempts,
// schedule, dead letters, unique keys, outcomes, and what tokens and numbers must not fall behind. What belongs to
// processes is left out: leases, slots, callers that wait, measured durations.
//
// It fails with [ErrAlive] while workers live or jobs run, at its begin and at its end; leases of workers that died are
// over by themselves, and are reaped first, as any worker does. Stop what enqueues and operates too: what comes into a
// namespace meanwhile may be missing. But for that it changes nothing. It keeps a few hundred jobs in memory, and some 20 bytes of each
// other one of a partition; no command of its reads more than 2 MiB, or one job. It writes no line that [Import] would refuse: it fails.
//
// An export without its last line is not whole: [Check] and [Import] say so.
func Export(ctx context.Context, d *dispatcher.Dispatcher, w io.Writer, o ExportOptions) (Totals, error) {
	e := &export{n: d.Engine(), ExportOptions: o, out: w, sum: sha256.New()}
	if !o.WhileRunning {
		if _, err := session.Reap(ctx, d); err != nil {
			return Totals{}, err
		}
	}
	for _, step := range []func(context.Context) error{e.stopped, e.header, e.kinds, e.limits, e.partitions, e.stopped, e.trailer} {
		if err := step(ctx); err != nil {
			return e.totals, lanes.Wrap("export namespace "+e.n.Name, err)
		}
	}
	return e.totals, nil
}

// export is one under way.
type export struct {
	n *lanes.Namespace
	ExportOptions
	out    io.Writer
	sum    hash.Hash
	all    int // jobs that there are
	found  int // jobs that were found, each once
	totals Totals
}

// stopped refuses to go on while workers live.
func (e *export) stopped(ctx context.Context) error {
	if e.WhileRunning {
		return nil
	}
	holders, err := alive(ctx, e.n)
	if err != nil {
		return err
	}
	return refuseWorkers("jobs move while they are exported", holders)
}

// write writes one line.
func (e *export) write(line any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(line); err != nil {
		return err
	}
	if b.Len() > mostLine {
		return fmt.Errorf("line %d would have %d bytes, and no import reads more than %d", e.totals.Lines+1, b.Len(), mostLine)
	}
	e.totals.Lines++
	e.sum.Write(b.Bytes())
	_, err := e.out.Write(b.Bytes())
	return err
}

// header writes the first two lines. The floors are those of the partition that is farthest: in a namespace that is cut
// otherwise a lane may come from any.
func (e *export) header(ctx context.Context) error {
	now, err := e.n.Time(ctx)
	if err != nil {
		return err
	}
	floor := floorLine{Type: typeFloor}
	for p := range e.n.Partitions {
		said, err := e.n.Fields(ctx, e.n.Keys(p).Clock(), []string{"token", "seq"})
		if err != nil {
			return err
		}
		for i, most := range []*int64{&floor.Token, &floor.Seq} {
			text, _ := said[i].(string)
			is, _ := strconv.ParseInt(text, 10, 64)
			*most = max(*most, is)
		}
		jobs, err := e.count(ctx, p)
		if err != nil {
			return err
		}
		e.all += jobs
	}
	err = e.write(Header{
		Type: typeHeader, Format: format, ID: uuid.NewString(), Namespace: e.n.Name, Schema: lanes.Schema(), Partitions: e.n.Partitions,
		At: now.UTC(), Running: e.WhileRunning,
	})
	if err == nil {
		err = e.write(floor)
	}
	return err
}

// count is how many jobs a partition has.
func (e *export) count(ctx context.Context, p int) (int, error) {
	n, err := connect.Ask(ctx, func(ctx context.Context) (int64, error) { return e.n.Redis.HLen(ctx, e.n.Keys(p).Jobs()).Result() })
	return int(n), err
}

// hash reads a hash that is small.
func (e *export) hash(ctx context.Context, key string) (map[string]string, error) {
	return connect.Ask(ctx, func(ctx context.Context) (map[string]string, error) { return e.n.Redis.HGetAll(ctx, key).Result() })
}

// kinds writes what is declared, and which version a kind had that is declared no more: it must not come again.
func (e *export) kinds(ctx context.Context) error {
	declared, err := e.hash(ctx, e.n.Registry())
	if err != nil {
		return err
	}
	versions, err := e.hash(ctx, e.n.Versions())
	if err != nil {
		return err
	}
	names := make(map[string]bool)
	for _, stored := range []map[string]string{declared, versions} {
		for field := range stored {
			names[strings.TrimSuffix(field, record.RetentionField(""))] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		line := kindLine{Type: typeKind, Kind: name}
		line.LastVersion, _ = strconv.Atoi(versions[name])
		kept, _ := record.ParseRetention(versions[record.RetentionField(name)])
		line.DeadKeepMS, line.DeadMax = kept.Keep.Milliseconds(), kept.Most
		if text, ok := declared[name]; ok {
			var declaration string
			if line.Version, line.Owner, declaration, err = record.Declared(text); err != nil {
				return fmt.Errorf("kind %s: %w", name, err)
			}
			line.Declaration = json.RawMessage(declaration)
		}
		e.totals.Kinds++
		if err := e.write(line); err != nil {
			return err
		}
	}
	return nil
}

// limits writes limits as they are enforced, and when the next start under each may be.
func (e *export) limits(ctx context.Context) error {
	for p := range e.n.Partitions {
		limits, err := e.hash(ctx, e.n.Keys(p).Limits())
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(limits)) {
			if strings.HasSuffix(name, " next") {
				continue
			}
			l, _ := record.ParseLimit(limits[name])
			line := limitLine{Type: typeLimit, Limit: name, Most: l.Most, EveryMS: l.Every.Milliseconds(), Version: l.Version}
			line.NextMS, _ = strconv.ParseInt(limits[name+" next"], 10, 64)
			if err := e.write(line); err != nil {
				return err
			}
		}
	}
	return nil
}

// partitions writes one partition after the other: the schedule before the lanes, because a job goes from there to here,
// and who sees it twice knows that; a job that goes the other way has a worker.
func (e *export) partitions(ctx context.Context) error {
	for p := range e.n.Partitions {
		x := &part{export: e, p: p, keys: e.n.Keys(p), seed: maphash.MakeSeed(), found: make(map[uint64]bool)}
		for _, step := range []func(context.Context) error{x.size, x.scheduled, x.parked, x.lanes, x.dead, x.windows, x.outcomes} {
			if err := step(ctx); err != nil {
				return fmt.Errorf("%s: %w", e.n.PartitionName(p), err)
			}
		}
		e.found += len(x.found)
	}
	return nil
}

// errMissing is returned when an export has not all jobs that are stored.
var errMissing = errors.New("dispatcher: jobs stand nowhere, or in several places")

// trailer writes the last line. Jobs were found by their places, and are counted by their bodies: the two must agree.
func (e *export) trailer(ctx context.Context) error {
	if !e.WhileRunning {
		stored := 0
		for p := range e.n.Partitions {
			jobs, err := e.count(ctx, p)
			if err != nil {
				return err
			}
			stored += jobs
		}
		if e.found != stored || stored < e.all {
			return fmt.Errorf("%w: %d are stored, %d were found in lanes, on the schedule and among the dead letters; 'lanekeeper doctor' says more", errMissing, stored, e.found)
		}
		e.totals.Stored = stored
	}
	e.totals.Type, e.totals.SHA256 = typeTrailer, hex.EncodeToString(e.sum.Sum(nil))
	lines := e.totals.Lines
	err := e.write(e.totals)
	e.totals.Lines = lines
	return err
}

// pages reads a sorted set piece by piece in its order, and so much of it at a time. What changes meanwhile makes it skip nothing else,
// and find nothing else twice.
func (e *export) pages(ctx context.Context, key string, step int, each func([]redis.Z) error) error {
	for last := (*redis.Z)(nil); ; {
		some, err := e.n.After(ctx, key, last, step)
		if err != nil || len(some) == 0 {
			return err
		}
		if err := each(some); err != nil || len(some) < step {
			return err
		}
		last = &some[len(some)-1]
	}
}
