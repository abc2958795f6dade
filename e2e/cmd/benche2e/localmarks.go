// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"time"
)

// What timestream-local is held to.
const (
	localWriteRate   = 150_000   // durable records/s of 8 clients
	localReplayRate  = 20_000    // records/s that are stored already
	localEngineRate  = 2_000_000 // points/s out of the engine
	localWireRate    = 600_000   // points/s over the wire
	localSampleBytes = 8.0       // on disk
	localStartTime   = time.Second
	localMemory      = 1024 // MiB
	localWriteP99    = 200 * time.Millisecond
)

// localMarks are the marks of timestream-local.
func (b *bench) localMarks(add func(mark)) {
	if b.local == nil {
		return
	}
	rate := func(what string, got, want float64, goal bool) {
		add(mark{"timestream-local: " + what, "≥ " + thousands(want) + "/s", thousands(got) + "/s", got >= want, goal})
	}
	rate(fmt.Sprintf("durable records by the wire protocol, %d clients", localClients), middle(b.local.fresh, func(w *localWrites) float64 { return w.report.PerSecond() }), localWriteRate, false)
	r := b.local.stored
	if r == nil {
		return
	}
	for _, w := range r.replays {
		rate(w.name, w.report.PerSecond(), localReplayRate, w.goal)
	}
	for _, way := range []struct {
		name string
		want float64
	}{{inProcess, localEngineRate}, {overTheWire, localWireRate}} {
		for _, st := range localStatements(localFleet(1), 1) {
			rate("points "+way.name+", "+st.name, middle(r.readsOf(st.name, way.name), (*localRead).perSecond), way.want, false)
		}
	}
	perSample := float64(r.bytes) / float64(r.samples)
	add(mark{"timestream-local: bytes on disk for each of " + thousands(float64(r.samples)) + " samples", fmt.Sprintf("≤ %.1f", localSampleBytes), fmt.Sprintf("%.2f", perSample), perSample <= localSampleBytes, false})
	for _, s := range r.starts {
		add(mark{"timestream-local: start with them, " + s.name, "< " + milliseconds(localStartTime) + " ms", milliseconds(s.took) + " ms", s.took < localStartTime, s.name != cleanStart})
	}
	add(lessMiB("timestream-local: peak memory under writes and reads at once", r.both.peak, localMemory))
	p99 := r.both.report.Latency(0.99)
	add(mark{"timestream-local: a write while everything is scanned, p99", "< " + milliseconds(localWriteP99) + " ms", milliseconds(p99) + " ms", p99 < localWriteP99, false})
}

// readsOf are the reads of a statement by one way.
func (r *localStore) readsOf(name, way string) []*localRead {
	return slices.DeleteFunc(slices.Clone(r.reads), func(x *localRead) bool { return x.name != name || x.way != way })
}

// middle is the median of what f tells of some results, 0 of none.
func middle[T any](list []T, f func(T) float64) float64 {
	if len(list) == 0 {
		return 0
	}
	var all []float64
	for _, x := range list {
		all = append(all, f(x))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func (b *bench) printLocalWrites(list []*localWrites) {
	var rows [][]string
	for _, w := range list {
		rows = append(rows, w.row())
	}
	b.out.table(fmt.Sprintf("timestream-local: durable writes into an empty database, %d clients, requests of 100 records", localClients), localWriteHead(), rows)
}

func localWriteHead() []string {
	return []string{"load", "records/s", "p50 / p99 ms", "records per CPU-s", "CPU s", "generator: CPU s", "peak MiB"}
}

func (w *localWrites) row() []string {
	return []string{
		w.name, thousands(w.report.PerSecond()), milliseconds(w.report.Latency(0.5)) + " / " + milliseconds(w.report.Latency(0.99)),
		thousands(float64(w.report.Records()) / w.cpu.Seconds()), fmt.Sprintf("%.2f", w.cpu.Seconds()), fmt.Sprintf("%.2f", w.own.Seconds()), mib(float64(w.peak)),
	}
}

func (b *bench) printLocalStore(r *localStore) {
	var starts [][]string
	for _, s := range r.starts {
		starts = append(starts, []string{s.name, milliseconds(s.took)})
	}
	when := "found"
	if r.filled > 0 {
		when = fmt.Sprintf("stored in %s, at rest %s later", r.filled.Round(time.Second), r.rested.Round(time.Second))
	}
	b.out.line("%s samples of %s series %s: %.2f bytes a sample on disk (%s MiB)", thousands(float64(r.samples)), thousands(float64(localFleet(1).Series())),
		when, float64(r.bytes)/float64(r.samples), mib(float64(r.bytes)))
	b.out.table("timestream-local: start with that file", []string{"start", "ms until ready"}, starts)
	var writes [][]string
	for _, w := range append(slices.Clone(r.replays), r.both) {
		writes = append(writes, w.row())
	}
	b.out.table("timestream-local: writes with that file", localWriteHead(), writes)
	b.out.line("%s points were read during the last of them, and everything was scanned", thousands(float64(r.bothPoints)))
	var reads [][]string
	for _, x := range r.reads {
		reads = append(reads, []string{x.name, x.way, thousands(float64(x.points)), fmt.Sprintf("%.2f", x.took.Seconds()), thousands(x.perSecond()), thousands(float64(x.points) / x.cpu.Seconds())})
	}
	b.out.table("timestream-local: grouped time series out of that file", []string{"read", ".way", "points", "s", "points/s", "points per CPU-s"}, reads)
}
