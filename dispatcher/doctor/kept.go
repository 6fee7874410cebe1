package doctor

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
)

// Outcomes and windows stay after a job's end, and have a most in each partition, so that no
// Redis fills up with them. This file warns before that is reached, and proves the number of
// bytes by which it is kept.

// almost is from which share of a bound on the doctor speaks of it.
const almost = 0.9

// full warns of what in a partition is about to reach its bound. It goes by what the survey has
// counted, and asks Redis nothing: a bound is nine tenths full for longer than a survey takes.
func (s *survey) full(d *Doctor, p int) (findings []Finding) {
	warn := func(what string, has, most int64, then string) {
		if float64(has) >= almost*float64(most) {
			findings = append(findings, Finding{Warning, what, d.lanes.PartitionName(p), fmt.Sprintf("%d of %d: %s", has, most, then)})
		}
	}
	said, _ := strconv.ParseInt(s.clock["kept"], 10, 64)
	warn("outcomes", said, lanes.MostKept, "bytes; the oldest outcomes go before their time is over")
	warn("windows", int64(len(s.windows)), int64(d.lanes.Share), "unique keys stay taken; jobs with another window are refused")
	return findings
}

// keptBytes is what a partition's clock says of the bytes of its outcomes, and what they are. ok
// is false when outcomes came or went while they were counted.
type keptBytes struct {
	said string
	are  int64
	ok   bool
}

// wrong reports whether the two differ, as far as that is known. No word of the clock is fine as
// long as there is no outcome.
func (k keptBytes) wrong() bool {
	said, err := strconv.ParseInt(k.said, 10, 64)
	return k.ok && (k.said != "" || k.are > 0) && (err != nil || said != k.are)
}

// saidKept returns what the clock says, as a text, for it may be one that is no number.
func (d *Doctor) saidKept(ctx context.Context, p int) (string, error) {
	said, err := connect.Ask(ctx, func(ctx context.Context) (string, error) {
		return d.lanes.Redis.HGet(ctx, d.lanes.Keys(p).Clock(), "kept").Result()
	})
	return said, unlessAbsent(err)
}

// countKept counts the outcomes of a partition, which is bounded by what may be kept, 64 MiB. The
// clock is asked before and after: while jobs end the sum can't be had at one moment.
func (d *Doctor) countKept(ctx context.Context, p int) (k keptBytes, err error) {
	if k.said, err = d.saidKept(ctx, p); err != nil {
		return k, err
	}
	err = d.lanes.ScanHash(ctx, d.lanes.Keys(p).Outcomes(), func(id, outcome string) { k.are += record.OutcomeBytes(id, outcome) })
	if err != nil {
		return keptBytes{}, unlessAbsent(err) // of a wrong type: a finding of its own
	}
	again, err := d.saidKept(ctx, p) // the same as before: nothing came or went, or as much came as went
	k.ok = again == k.said
	return k, err
}

// wrongKept counts again when a survey and the clock do not agree, and returns what is wrong, if
// anything is. They seldom agree while jobs end, so this second count is the one that is
// reported.
func (d *Doctor) wrongKept(ctx context.Context, p int, s *survey) (k keptBytes, wrong bool, err error) {
	if strconv.FormatInt(s.kept, 10) == cmp.Or(s.clock["kept"], "0") {
		return k, false, nil
	}
	k, err = d.countKept(ctx, p)
	return k, err == nil && k.wrong(), err
}

// recount corrects what the clock says, unless that has changed: then an outcome came or went
// since the count, and the count is of no use. It reports whether it did.
func (d *Doctor) recount(ctx context.Context, p int, k keptBytes) (done bool, err error) {
	return d.lanes.Recount(ctx, p, k.said, k.are)
}
