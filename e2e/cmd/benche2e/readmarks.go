// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"time"
)

// What reads are held to besides their time.
const (
	readMemory    = 200       // MiB of query and gateway together
	decoderRate   = 1_000_000 // samples per CPU-second of the query service
	pushDownShare = 0.05      // of the samples that come out of the store without push-down
)

// readMarks are the marks of reading.
func (b *bench) readMarks(add func(mark)) {
	atMost := func(what string, got, most time.Duration) {
		format := func(d time.Duration) string {
			if most < 100*time.Millisecond {
				return milliseconds(d) + " ms"
			}
			return fmt.Sprintf("%.2f s", d.Seconds())
		}
		add(mark{what, "≤ " + format(most), format(got), got <= most, false})
	}
	for _, r := range b.reads {
		what := "remote read of " + r.name + ": "
		if r.most > 0 {
			atMost(what+"time", median(r.times), r.most)
		}
		if r.memory {
			add(lessMiB(what+"peak memory of query and gateway", r.peak[queryRole]+r.peak[gatewayRole], readMemory))
		}
		if r.decoder {
			got := r.perCPUSecond(queryRole)
			add(mark{what + "samples per CPU-second of the query service", "≥ " + thousands(decoderRate), thousands(got), got >= decoderRate, false})
		}
	}
	for _, r := range b.answers {
		if r.system == separateSystem && r.most > 0 {
			atMost(r.name+": time over the wire", median(r.times), r.most)
		}
		if yardstick := b.answer(r.name, promSystem); r.system == oneSystem && r.ratio > 0 && yardstick != nil {
			got := median(r.engine).Seconds() / median(yardstick.engine).Seconds()
			add(mark{r.name + ", the database in the same process: time of the engine, of Prometheus'", fmt.Sprintf("≤ %.1f", r.ratio), fmt.Sprintf("%.2f", got), got <= r.ratio, false})
		}
	}
	if len(b.pushed) == 2 {
		got := float64(b.pushed[1].samples) / float64(b.pushed[0].samples)
		add(mark{
			fmt.Sprintf("push-down, %d days at 1 h: samples out of the store, of those without", int(b.past.Hours()/24)),
			fmt.Sprintf("≤ %.0f %%", 100*pushDownShare), fmt.Sprintf("%.2f %%", 100*got), got <= pushDownShare, false,
		})
	}
}
