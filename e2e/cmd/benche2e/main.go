// SPDX-License-Identifier: Apache-2.0

// Command benche2e measures the real binaries under one load, in one run on one machine: samples per second, samples per
// CPU-second by process, metered KiB per 1,000 samples and peak memory, with a real Prometheus taking the same load by
// its own receiver as the yardstick. The figures that count are the ratios.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tributary-project/tributary/e2e/internal/load"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// bench is what all scenarios share.
type bench struct {
	bin      string
	load     load.Config
	series   int
	stdout   io.Writer
	progress io.Writer
	missed   []string // marks, see marks
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	b := &bench{stdout: stdout, progress: stderr}
	fs := flag.NewFlagSet("benche2e", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&b.bin, "bin", "bin", "Folder of the binaries.")
	fs.DurationVar(&b.load.Duration, "duration", 15*time.Second, "How long each scenario is under load.")
	fs.IntVar(&b.series, "series", 10_000, "Number of series, of 8 to 14 labels.")
	fs.IntVar(&b.load.SamplesPerRequest, "samples-per-request", 2000, "Most samples in a request.")
	fs.IntVar(&b.load.Senders, "senders", 4, "Number of senders.")
	protocols := fs.String("protocols", "2,1", "Versions of remote write.")
	check := fs.Bool("check", false, "Fail unless the project's marks are met: "+marks)
	only := fs.String("only", "", "Comma-separated scenarios; empty means all: "+strings.Join(names(), ", ")+".")
	if err := fs.Parse(args); err != nil {
		return err
	}
	abs, err := filepath.Abs(b.bin)
	if err != nil {
		return err
	}
	b.bin = abs
	b.load.RetryFor = 30 * time.Second
	fmt.Fprintf(stdout, "%d series, %d samples a request, %d senders, %s a scenario\n\n", b.series, b.load.SamplesPerRequest, b.load.Senders, b.load.Duration)
	for _, p := range strings.Split(*protocols, ",") {
		switch p {
		case "1":
			b.load.Protocol = load.V1
		case "2":
			b.load.Protocol = load.V2
		default:
			return fmt.Errorf("--protocols=%s: want 1, 2 or both", *protocols)
		}
		if err := b.table(ctx, *only); err != nil {
			return err
		}
	}
	if *check && len(b.missed) > 0 {
		return fmt.Errorf("marks missed: %s", strings.Join(b.missed, "; "))
	}
	return nil
}

// marks are what --check asks for; they are figures for two cores and remote write 2.0.
const marks = "gateway and ingest take 0.4 times the samples per CPU-second of the yardstick; all in one takes 50,000 samples/s, durable, in less than 768 MiB."

// judge notes the marks that a row with remote write 2.0 misses.
func (b *bench) judge(r *result, yardstick float64) {
	if b.load.Protocol != load.V2 {
		return
	}
	switch r.name {
	case countingScenario:
		if ratio := r.perCPUSecond() / yardstick; yardstick > 0 && ratio < 0.4 {
			b.missed = append(b.missed, fmt.Sprintf("gateway and ingest: %.2f of the yardstick, mark 0.4", ratio))
		}
	case allScenario:
		if rate := r.report.SamplesPerSecond(); rate < 50_000 {
			b.missed = append(b.missed, fmt.Sprintf("all in one: %.0f samples/s, mark 50,000", rate))
		}
		if r.peakRSS >= 768<<20 {
			b.missed = append(b.missed, fmt.Sprintf("all in one: %d MiB at its peak, mark 768", r.peakRSS>>20))
		}
	}
}

// table runs the scenarios with one protocol and prints a row for each.
func (b *bench) table(ctx context.Context, only string) error {
	fmt.Fprintf(b.stdout, "Remote write %d.0\n%-34s %12s %14s %9s %10s %12s  %s\n", b.load.Protocol,
		"scenario", "samples/s", "samples/CPU-s", "of yard-", "p50/p99", "metered KiB", "CPU-s and peak MiB by process")
	fmt.Fprintf(b.stdout, "%-34s %12s %14s %9s %10s %12s\n", "", "", "counted parts", "stick", "ms", "/1000 sampl.")
	yardstick := 0.0
	for _, s := range scenarios() {
		if only != "" && !contains(strings.Split(only, ","), s.name) {
			continue
		}
		fmt.Fprintf(b.progress, "%s, remote write %d.0 …\n", s.name, b.load.Protocol)
		r, err := b.measure(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if s.yardstick {
			yardstick = r.perCPUSecond()
		}
		r.print(b.stdout, yardstick)
		b.judge(r, yardstick)
	}
	fmt.Fprintln(b.stdout)
	return nil
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}
