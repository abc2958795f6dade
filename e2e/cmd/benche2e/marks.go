// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/tributary-project/tributary/e2e/internal/load"
)

// mark is what the project asks of a figure.
type mark struct {
	what, want, got string
	met             bool
	goal            bool // hoped for; missing it is no failure
}

// marks holds the figures against what is asked. They are made for a machine with two cores that nobody else uses. What was
// not measured has no mark.
func (b *bench) marks() []mark {
	var out []mark
	add := func(m mark) { out = append(out, m) }
	get := func(name string, p load.Protocol) *result { return b.results[resultKey{name, p}] }
	first := func(name string) *result {
		if r := get(name, load.V2); r != nil {
			return r
		}
		return get(name, load.V1)
	}
	atLeast := func(what string, got, want float64, format string, goal bool) {
		add(mark{what, "≥ " + fmt.Sprintf(format, want), fmt.Sprintf(format, got), got >= want, goal})
	}
	for _, p := range []load.Protocol{load.V2, load.V1} {
		yardstick, ours := get(yardstickScenario, p), get(countingScenario, p)
		if yardstick == nil || ours == nil {
			continue
		}
		ratio := ours.perCPUSecond() / yardstick.perCPUSecond()
		what := fmt.Sprintf("gateway and ingest, remote write %d.0: samples per CPU-second, of the yardstick", p)
		atLeast(what, ratio, 1, "%.2f", false)
		if p == load.V2 {
			atLeast(what+": the goal", ratio, 1.5, "%.2f", true)
		}
	}
	if r := first(allScenario); r != nil {
		atLeast("`tributary all`, durable: samples/s", r.perSecond(), 50_000, "%.0f", false)
		if p := r.process("tributary"); p != nil {
			add(lessMiB("`tributary all`: peak memory", p.peak, 768))
		}
	}
	if r := first(oneSenderScenario); r != nil {
		atLeast(fmt.Sprintf("1 sender, %s service latency: samples/s", serviceLatency), r.perSecond(), 60_000, "%.0f", false)
	}
	if r := first(manySenderScenario); r != nil {
		const want = 0.1
		add(mark{
			fmt.Sprintf("%d senders, %s service latency: limited by CPU, part of the time in which cores are idle", manySenders, serviceLatency),
			fmt.Sprintf("≤ %.0f %%", 100*want), fmt.Sprintf("%.0f %%", 100*r.idle()), r.idle() <= want, false,
		})
		b.memoryMarks(r, add)
	}
	if r := first(smallScenario); r != nil {
		const want = 20
		got := r.latency(0.99).Seconds() * 1000
		add(mark{"a small request: ms until its answer, p99", fmt.Sprintf("≤ %d", want), fmt.Sprintf("%.1f", got), got <= want, false})
	}
	if one, two := first(oneIngestScenario), first(twoIngestScenario); one != nil && two != nil {
		atLeast("two ingests with 8 calls in flight each: samples/s, of one", two.perSecond()/one.perSecond(), 1.9, "%.2f", false)
		add(mark{"the same: requests tried again", "0", fmt.Sprint(one.retries + two.retries), one.retries+two.retries == 0, false})
	}
	if r := first(gatewayScenario); r != nil {
		const want = 0.25
		got := r.counted.Seconds() * 1000 / float64(r.requests)
		add(mark{fmt.Sprintf("the gateway: ms of CPU per request of %d samples, plain text", b.load.SamplesPerRequest), fmt.Sprintf("≤ %.2f", want), fmt.Sprintf("%.3f", got), got <= want, false})
	}
	for _, o := range b.orders {
		const want = 1.1
		got := o.sent / o.best
		add(mark{fmt.Sprintf("metered bytes, requests by %s: of the best order found", o.spread), fmt.Sprintf("≤ %.2f", want), fmt.Sprintf("%.3f", got), got <= want, false})
	}
	for _, s := range b.soaked {
		if limit, bounded := memoryLimits()[role(s.process)]; bounded {
			add(lessMiB(fmt.Sprintf("soak of %s, %d senders: peak memory of the %s", b.soak, manySenders, s.process), s.peak, limit))
		}
		add(mark{
			fmt.Sprintf("soak of %s: the last fifth's memory of the %s, of that of the second", b.soak, s.process),
			fmt.Sprintf("≤ %.2f", flat), fmt.Sprintf("%.3f", s.growth()), s.growth() <= flat, false,
		})
	}
	b.readMarks(add)
	b.localMarks(add)
	return out
}

// memoryLimits are the MiB that a process may have resident at 16 senders.
func memoryLimits() map[string]int64 { return map[string]int64{"gateway": 100, "ingest": 250} }

func (b *bench) memoryMarks(r *result, add func(mark)) {
	for _, name := range []string{"gateway", "ingest"} {
		if p := r.process(name); p != nil {
			add(lessMiB(fmt.Sprintf("%d senders: peak memory of the %s", manySenders, name), p.peak, memoryLimits()[name]))
		}
	}
}

func lessMiB(what string, got, limit int64) mark {
	return mark{what, fmt.Sprintf("< %d MiB", limit), fmt.Sprintf("%d MiB", got>>20), got < limit<<20, false}
}

// printMarks prints the marks and returns those that were missed.
func (b *bench) printMarks() (missed []string) {
	var rows [][]string
	for _, m := range b.marks() {
		met := "yes"
		if !m.met {
			met = "no"
			if !m.goal {
				missed = append(missed, fmt.Sprintf("%s: %s, want %s", m.what, m.got, m.want))
			}
		}
		rows = append(rows, []string{m.what, m.want, m.got, met})
	}
	if len(rows) > 0 {
		b.out.table("Marks", []string{"mark", "want", "got", ".met"}, rows)
	}
	return missed
}
