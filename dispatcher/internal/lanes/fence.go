package lanes

import (
	"context"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
)

var fenceScript = whole("fence")

// Fence lets the run write where these hashes say so, and none before it; with none it is the clocks of all partitions. Then it reads the meta
// once more, and returns it: a run that stood still since it took over, until others had come and gone, is not let in by hashes
// alone that say nothing, as those of a namespace that was made anew.
func (m *Mover) Fence(ctx context.Context, hashes ...string) (Meta, error) {
	if len(hashes) == 0 {
		hashes = m.clocks()
	}
	if err := m.fence(ctx, m.run, hashes); err != nil {
		return Meta{}, err
	}
	meta, _, err := ReadMeta(ctx, m.Redis, m.Name)
	if err == nil && (meta.mover != m.run.String() || meta.Mark() != m.mark) {
		err = m.overtaken()
	}
	return meta, err
}

func (m *Mover) clocks() (keys []string) {
	for p := range m.Partitions {
		keys = append(keys, m.keys[p].Clock())
	}
	return keys
}

func (m *Mover) fence(ctx context.Context, run record.Mover, hashes []string) error {
	calls := make([]*script.Call, len(hashes))
	for i, key := range hashes {
		calls[i] = m.Scripts.Whole(fenceScript, []string{key}, run.String())
	}
	return Wrap("take over namespace "+m.Name, m.together(ctx, calls))
}
