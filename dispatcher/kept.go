package dispatcher

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"strconv"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
)

//go:embed recount.lua
var recountLua string

var recountScript = verb("recount", recountLua)

// mostKept is how many bytes of outcomes a partition keeps at most: MOST_KEPT of kept.lua.
const mostKept = 64 << 20

// almost is from which share of a bound on the doctor speaks of it.
const almost = 0.9

// full warns of what in a partition is about to reach its bound.
func (s *survey) full(d *Dispatcher, p int) (findings []Finding) {
	warn := func(what string, has, most int64, then string) {
		if float64(has) >= almost*float64(most) {
			findings = append(findings, Finding{Warning, what, d.partitionName(p), fmt.Sprintf("%d of %d: %s", has, most, then)})
		}
	}
	said, _ := strconv.ParseInt(s.clock["kept"], 10, 64)
	warn("outcomes", said, mostKept, "bytes; the oldest outcomes go before their time is over")
	warn("windows", int64(len(s.windows)), int64(d.share()), "unique keys stay taken; jobs with another window are refused")
	return findings
}

// keptBytes is what a partition's clock says of the bytes of its outcomes, and what they are. ok is
// false when outcomes came or went while they were counted.
type keptBytes struct {
	said string
	are  int64
	ok   bool
}

func (k keptBytes) wrong() bool {
	said, err := strconv.ParseInt(k.said, 10, 64)
	return k.ok && (k.said != "" || k.are > 0) && (err != nil || said != k.are)
}

func (d *Dispatcher) saidKept(ctx context.Context, p int) (string, error) {
	said, err := connect.Ask(ctx, func(ctx context.Context) (string, error) {
		return d.rdb.HGet(ctx, d.keys[p].Clock(), "kept").Result()
	})
	return said, unlessAbsent(err)
}

// countKept counts the outcomes of a partition, which is bounded by what may be kept.
func (d *Dispatcher) countKept(ctx context.Context, p int) (k keptBytes, err error) {
	if k.said, err = d.saidKept(ctx, p); err != nil {
		return k, err
	}
	err = d.scanHash(ctx, d.keys[p].Outcomes(), func(id, outcome string) { k.are += record.OutcomeBytes(id, outcome) })
	if err != nil {
		return keptBytes{}, unlessAbsent(err) // of a wrong type: a finding of its own
	}
	again, err := d.saidKept(ctx, p)
	k.ok = again == k.said
	return k, err
}

// wrongKept counts again when a survey and the clock do not agree, and returns what is wrong, if anything is.
func (d *Dispatcher) wrongKept(ctx context.Context, p int, s *survey) (k keptBytes, wrong bool, err error) {
	if strconv.FormatInt(s.kept, 10) == cmp.Or(s.clock["kept"], "0") {
		return k, false, nil
	}
	k, err = d.countKept(ctx, p)
	return k, err == nil && k.wrong(), err
}

// recount corrects what the clock says, unless that has changed.
func (d *Dispatcher) recount(ctx context.Context, p int, k keptBytes) (done bool, err error) {
	words, err := d.ask(ctx, d.run.Plain(p, recountScript, nil, k.said, k.are))
	return err == nil && words[0] == "ok", err
}
