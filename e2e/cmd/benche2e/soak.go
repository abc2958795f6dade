// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tributary-project/tributary/e2e/internal/load"
)

// flat is how much larger the mean of the last fifth of a soak may be than that of the second, as a ratio.
const flat = 1.1

// soakResult is the memory of one process over a soak.
type soakResult struct {
	process     string
	start, peak int64      // resident bytes
	fifths      [5]float64 // means, in bytes
	slope       float64    // bytes per hour over the last four fifths, by least squares
}

func (s soakResult) growth() float64 { return s.fifths[4] / s.fifths[1] }

// measureSoak keeps gateway and ingest under the load of many senders and looks at their memory all the time.
func (b *bench) measureSoak(ctx context.Context, p load.Protocol) (err error) {
	fmt.Fprintf(b.progress, "%s, remote write %d.0, %s …\n", soakScenario, p, b.soak)
	sc := scenario{name: soakScenario, start: startCounting(counting{latency: serviceLatency, ingests: 1}), shape: many}
	s, g, err := b.begin(ctx, sc, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	defer g.Close()
	if err := taken(g.Run(ctx, b.warmUp)); err != nil {
		return err
	}
	reports := make(chan *load.Report, 1)
	go func() { reports <- g.Run(ctx, b.soak) }()
	start := time.Now()
	seen := make([][]reading, len(s.processes))
	ticker := time.NewTicker(max(100*time.Millisecond, min(5*time.Second, b.soak/100)))
	defer ticker.Stop()
	var report *load.Report
	for report == nil {
		for i, p := range s.processes {
			rss, err := p.RSS()
			if err != nil {
				<-reports
				return err
			}
			seen[i] = append(seen[i], reading{time.Since(start), float64(rss)})
		}
		select {
		case report = <-reports:
		case <-ticker.C:
		}
	}
	if err := errors.Join(ctx.Err(), taken(report)); err != nil {
		return err
	}
	var rows [][]string
	for i, p := range s.processes {
		r := summarise(p.Name, seen[i], b.soak)
		if r.peak, err = p.PeakRSS(); err != nil {
			return err
		}
		b.soaked = append(b.soaked, r)
		row := []string{r.process, mib(float64(r.start))}
		for _, f := range r.fifths {
			row = append(row, mib(f))
		}
		rows = append(rows, append(row, mib(float64(r.peak)), fmt.Sprintf("%+.1f", r.slope/(1<<20))))
	}
	b.out.table(fmt.Sprintf("Soak of %s, remote write %d.0, %d senders, %s service latency, %s samples/s: resident MiB", b.soak, p, manySenders, serviceLatency, thousands(report.SamplesPerSecond())),
		[]string{"process", "start", "1st fifth", "2nd", "3rd", "4th", "5th", "peak", "MiB per hour"}, rows)
	return nil
}

func mib(bytes float64) string { return fmt.Sprintf("%.0f", bytes/(1<<20)) }

// reading is resident memory at a time after the start.
type reading struct {
	at    time.Duration
	bytes float64
}

// summarise makes a result of the readings of a soak of this length. A fifth without a reading has that of the one before.
func summarise(process string, readings []reading, length time.Duration) soakResult {
	r := soakResult{process: process, start: int64(readings[0].bytes)}
	var sums, counts [5]float64
	var n, t, y, tt, ty float64 // for the slope
	for _, x := range readings {
		f := min(4, int(5*x.at/length))
		sums[f] += x.bytes
		counts[f]++
		if f > 0 {
			h := x.at.Hours()
			n, t, y, tt, ty = n+1, t+h, y+x.bytes, tt+h*h, ty+h*x.bytes
		}
	}
	for f := range r.fifths {
		switch {
		case counts[f] > 0:
			r.fifths[f] = sums[f] / counts[f]
		case f > 0:
			r.fifths[f] = r.fifths[f-1]
		}
	}
	if d := n*tt - t*t; d > 0 {
		r.slope = (n*ty - t*y) / d
	}
	return r
}
