package move

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// ImportConfig says where to.
type ImportConfig struct {
	Redis      redis.UniversalClient
	Namespace  string
	Partitions int // 0 is as for any new namespace
	Progress   func(lines int)
}

// ErrExists is returned by [Import] for a namespace that is there.
var ErrExists = errors.New("dispatcher: namespace exists")

// Import makes a namespace of what [Export] wrote, with any number of partitions: each lane has its jobs in their order with
// what came of them so far, and tokens and sequence numbers go on rising. Nobody can open the namespace until all is there,
// the last line was read, and as many jobs are stored as it says.
//
// It never adds to a namespace that is there: [ErrExists]. An import that was interrupted goes on where it stopped when it is
// called again with the same export and namespace; nothing comes twice. With another export it is [ErrExists] too. Of two
// calls at once the one that began first is refused all that it still sends, with [dispatcher.ErrMismatch].
// It keeps some hundred lines in memory.
func Import(ctx context.Context, cfg ImportConfig, r io.Reader) (Header, Totals, error) {
	if err := subject.CheckName(cfg.Namespace); err != nil {
		return Header{}, Totals{}, err
	}
	if cfg.Partitions < 0 || cfg.Partitions > subject.MaxPartitions {
		return Header{}, Totals{}, lanes.Invalid("partitions", cfg.Partitions, fmt.Sprintf("must be 1 to %d", subject.MaxPartitions))
	}
	l, err := newReader(r)
	if err != nil {
		return Header{}, Totals{}, err
	}
	im := &importing{lineReader: l, ImportConfig: cfg}
	if err := im.begin(ctx); err != nil {
		return l.header, Totals{}, err
	}
	if err := im.all(ctx); err != nil {
		return l.header, l.totals, lanes.Wrap("import into namespace "+cfg.Namespace+", which stays closed", err)
	}
	if err := im.complete(ctx); err != nil {
		return l.header, *l.last, lanes.Wrap("import into namespace "+cfg.Namespace+", which stays closed", err)
	}
	return l.header, *l.last, nil
}

// importing is an import under way.
type importing struct {
	*lineReader
	ImportConfig
	n    *lanes.Mover // another run may take over
	done int          // lines that an earlier run has brought

	chunk []item
	bytes int
}

// begin makes the namespace, or goes on with one that the same export was brought into, and takes over from any other run. What is
// made is looked at once more: two may make it at once. How far it is counts once no other run can go on.
func (im *importing) begin(ctx context.Context) error {
	meta, found, err := lanes.ReadMeta(ctx, im.Redis, im.Namespace)
	if err != nil {
		return err
	}
	if !found {
		if _, err = lanes.Create(ctx, lanes.Config{
			Redis: im.Redis, Name: im.Namespace, Partitions: im.Partitions, PerMaster: dispatcher.PartitionsPerMaster,
		}, lanes.Importing, "import", im.at(0)); err == nil {
			meta, _, err = lanes.ReadMeta(ctx, im.Redis, im.Namespace)
		}
		if err != nil {
			return err
		}
	}
	if err := im.ours(meta); err != nil {
		return err
	}
	if im.n, err = lanes.Closed(im.Redis, meta.Namespace).TakeOver(ctx, meta, lanes.Importing); err != nil {
		return err
	}
	if meta, err = im.n.Fence(ctx); err != nil {
		return err
	}
	_, line, _ := strings.Cut(meta.Import, " ")
	im.done, err = strconv.Atoi(line)
	return err
}

// ours fails unless a namespace was begun with this export, as it is to be.
func (im *importing) ours(meta lanes.Meta) error {
	id, _, _ := strings.Cut(meta.Import, " ")
	switch {
	case meta.Doing != lanes.Importing:
		return fmt.Errorf("%w: %s; an import makes a new one: name another with --namespace, or remove this one first", ErrExists, im.Namespace)
	case id != im.header.ID || meta.Schema != lanes.Schema():
		return fmt.Errorf("%w: %s has a part of another export, %s: give that one again, or remove the namespace with 'lanekeeper namespace rm %s'",
			ErrExists, im.Namespace, id, im.Namespace)
	case im.Partitions != 0 && im.Partitions != meta.Partitions:
		return fmt.Errorf("%w: %s was begun with %d partitions, not %d", ErrExists, im.Namespace, meta.Partitions, im.Partitions)
	}
	return nil
}

// at is what the meta says when so many lines are there.
func (im *importing) at(lines int) string { return im.header.ID + " " + strconv.Itoa(lines) }

// The most items and bytes that are brought at once. What is brought of one partition travels in one call.
const chunkItems, chunkBytes = 200, lanes.MostBytes / 2

// all brings line after line. Those of an earlier call are read, and checked, but not sent again.
func (im *importing) all(ctx context.Context) error {
	for {
		text, err := im.next()
		if errors.Is(err, io.EOF) {
			return im.send(ctx)
		}
		if err != nil {
			return err
		}
		it, err := im.item(text)
		if err != nil {
			return err
		}
		if im.Progress != nil {
			im.Progress(im.totals.Lines)
		}
		if im.totals.Lines <= im.done {
			continue
		}
		if im.bytes+len(text) > chunkBytes || len(im.chunk) == chunkItems {
			im.totals.Lines-- // this one is not among them
			err = im.send(ctx)
			im.totals.Lines++
		}
		if err != nil {
			return err
		}
		im.chunk, im.bytes = append(im.chunk, it), im.bytes+len(text)
	}
}

// send brings what is noted, and says how far that is. Stops of lanes come before their jobs, which are listed as ready
// where there are none. Each part may be repeated, so a call that was not answered is no loss.
func (im *importing) send(ctx context.Context) error {
	if len(im.chunk) == 0 {
		return nil
	}
	jobs, outcomes := make([][]lanes.Brought, im.n.Partitions), make([][]lanes.BroughtOutcome, im.n.Partitions)
	for _, it := range im.chunk {
		p := 0 // of what has no subject: a dead letter that can't be read
		if it.subject != (subject.Key{}) {
			p = im.n.Partition(it.subject)
		}
		switch {
		case it.job != nil:
			jobs[p] = append(jobs[p], *it.job)
		case it.outcome != nil:
			outcomes[p] = append(outcomes[p], *it.outcome)
		default:
			if err := im.bring(ctx, p, it); err != nil {
				return err
			}
		}
	}
	if err := im.n.BringAll(ctx, jobs, outcomes); err != nil {
		return err
	}
	im.chunk, im.bytes = nil, 0
	return im.n.Note(ctx, "import", im.at(im.totals.Lines))
}

// bring brings what is neither a job nor an outcome, of which there is little. All of it says the same when it is said again.
func (im *importing) bring(ctx context.Context, p int, it item) error {
	if it.floor != nil {
		return im.floor(ctx, it.floor)
	}
	ns, hash := im.n.Namespace, im.n.Keys(p).Clock()
	switch {
	case it.kind != nil:
		hash = ns.Meta()
	case it.limit != nil: // where it is enforced now
		hash = im.n.Keys(im.n.LimitHome(it.limit.Limit)).Clock()
	}
	return im.n.Write(ctx, hash, func(tx redis.Pipeliner) {
		switch {
		case it.lane != nil:
			// What a repeat finds may say more by now: that its head is suspended.
			canonical := it.subject.Canonical()
			tx.HSetNX(ctx, im.n.Keys(p).ParkReasons(), canonical, it.lane.String())
			tx.ZAddNX(ctx, im.n.Keys(p).Parked(), redis.Z{Score: it.lane.LookAgain(), Member: canonical})
		case it.window != nil:
			field, id := it.window.stored()
			tx.HSet(ctx, im.n.Keys(p).Unique(), field, id)
			tx.ZAdd(ctx, im.n.Keys(p).Windows(), redis.Z{Score: float64(it.window.UntilMS), Member: field})
		case it.kind != nil:
			it.kind.write(ctx, tx, ns.Registry(), ns.Versions())
		case it.limit != nil:
			it.limit.write(ctx, tx, im.n.Keys(im.n.LimitHome(it.limit.Limit)).Limits())
		}
	})
}

// floor raises what tokens and numbers must not fall behind. It needs no fence: it never lowers them, and nobody minds numbers
// that are left out.
func (im *importing) floor(ctx context.Context, line *floorLine) error {
	for p := range im.n.Partitions {
		if err := im.n.Raise(ctx, p, "token", line.Token); err != nil {
			return err
		}
		if err := im.n.Raise(ctx, p, "seq", line.Seq); err != nil {
			return err
		}
	}
	return nil
}

func (line *kindLine) write(ctx context.Context, tx redis.Pipeliner, registry, versions string) {
	if line.LastVersion > 0 {
		tx.HSet(ctx, versions, line.Kind, line.LastVersion)
	}
	if kept := line.retention().String(); kept != "" {
		tx.HSet(ctx, versions, record.RetentionField(line.Kind), kept)
	}
	if line.Declaration != nil {
		tx.HSet(ctx, registry, line.Kind, record.Declaration(line.Version, line.Owner, string(line.Declaration)))
	}
}

// write writes a limit, and when the next start under it may be.
func (line *limitLine) write(ctx context.Context, tx redis.Pipeliner, limits string) {
	tx.HSet(ctx, limits, line.Limit, line.limit().Record())
	if line.NextMS != 0 {
		tx.HSet(ctx, limits, line.Limit+" next", line.NextMS)
	}
}

// complete compares what is stored with what the last line says, and opens the namespace.
func (im *importing) complete(ctx context.Context) error {
	stored := 0
	for p := range im.n.Partitions {
		jobs, err := connect.Ask(ctx, func(ctx context.Context) (int64, error) { return im.Redis.HLen(ctx, im.n.Keys(p).Jobs()).Result() })
		if err != nil {
			return err
		}
		stored += int(jobs)
	}
	if im.last.Stored != 0 && stored != im.last.Stored {
		return fmt.Errorf("%w: it has %d jobs, and %d are stored; does somebody else write there?", ErrDamaged, im.last.Stored, stored)
	}
	return im.n.Open(ctx, lanes.Schema(), "import", "")
}
