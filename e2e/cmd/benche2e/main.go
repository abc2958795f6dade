// SPDX-License-Identifier: Apache-2.0

// Command benche2e measures the real binaries under load, in one run on one machine, with a real Prometheus taking the same
// load by its own receiver as the yardstick: samples per second and per CPU-second, memory by process, what Timestream would
// meter. The systems of a group take turns, round after round, because a machine's speed drifts; what counts are the ratios of
// the sums. At the end it holds the figures against the project's marks.
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
	"runtime"
	"slices"
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
	load     load.Config // that of a scenario which asks for no other
	series   int
	duration time.Duration // of a scenario in a round
	warmUp   time.Duration
	rounds   int
	soak     time.Duration
	past     time.Duration // how much the push-down scenario has stored
	stored   int           // samples that timestream-local has stored when it is measured
	storedIn string        // the folder in which they stay, empty for a temporary one
	only     []string      // scenarios; empty means all
	out      printer
	progress io.Writer

	results map[resultKey]*result
	orders  []ordering
	reads   []*readResult
	answers []*asked
	pushed  []*pushed
	local   *localResult
	soaked  []soakResult
}

// resultKey names a result.
type resultKey struct {
	scenario string
	protocol load.Protocol
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == standInCommand {
		return serveResults(ctx, args[1:], stderr)
	}
	b := &bench{out: printer{w: stdout}, progress: stderr, results: map[resultKey]*result{}}
	fs := flag.NewFlagSet("benche2e", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&b.bin, "bin", "bin", "Folder of the binaries.")
	fs.DurationVar(&b.duration, "duration", 10*time.Second, "How long each scenario is measured in each round.")
	fs.DurationVar(&b.warmUp, "warm-up", 3*time.Second, "How long each scenario is under load before it is measured.")
	fs.IntVar(&b.rounds, "rounds", 3, "How often the scenarios of a group take their turns.")
	fs.DurationVar(&b.soak, "soak", 0, "How long the soak of 16 senders takes, such as 10m; 0 leaves it out.")
	fs.DurationVar(&b.past, "past", 30*24*time.Hour, "How far the samples go back that the scenario "+pushDownScenario+" asks for.")
	fs.IntVar(&b.stored, "stored", 100_000_000, "How many samples the scenario "+localScenario+" stores before it measures what depends on that (some 15 minutes); 0 leaves that out.")
	fs.StringVar(&b.storedIn, "stored-in", "", "A folder in which the samples of --stored stay, for later runs to find; a run adds a little. Empty: a temporary one.")
	fs.IntVar(&b.series, "series", 10_000, "Number of series, of 8 to 14 labels.")
	fs.IntVar(&b.load.SamplesPerRequest, "samples-per-request", 2000, "Most samples in a request.")
	fs.IntVar(&b.load.Senders, "senders", 5, "Number of senders where the scenario does not say another: five share 10,000 series in full requests.")
	fs.StringVar((*string)(&b.load.Spread), "spread", string(load.BySeries), "What a sender's requests hold: series (each so many-th series, as shards of a Prometheus have it) or targets (whole targets).")
	protocols := fs.String("protocols", "2,1", "Versions of remote write; the groups besides the whole are measured by the first one only.")
	markdown := fs.Bool("markdown", false, "Print tables as Markdown.")
	check := fs.Bool("check", false, "Fail when a mark is missed. Marks of what was not measured do not count.")
	only := fs.String("only", "", "Comma-separated scenarios; empty means all: "+strings.Join(names(), ", ")+".")
	if err := fs.Parse(args); err != nil {
		return err
	}
	var err error
	if b.bin, err = filepath.Abs(b.bin); err != nil {
		return err
	}
	if b.rounds < 1 {
		return fmt.Errorf("--rounds=%d: want at least 1", b.rounds)
	}
	if *only != "" {
		b.only = strings.Split(*only, ",")
		for _, name := range b.only {
			if !slices.Contains(names(), name) {
				return fmt.Errorf("--only=%s: there is no scenario %s", *only, name)
			}
		}
	}
	var versions []load.Protocol
	for _, p := range strings.Split(*protocols, ",") {
		switch p {
		case "1":
			versions = append(versions, load.V1)
		case "2":
			versions = append(versions, load.V2)
		default:
			return fmt.Errorf("--protocols=%s: want 1, 2 or both", *protocols)
		}
	}
	b.out.markdown = *markdown
	b.load.RetryFor = 30 * time.Second
	b.out.line("%d series of 8 to 14 labels, at most %d samples a request, spread by %s; %d × %s a scenario after %s of warming up; %d cores, %s",
		b.series, b.load.SamplesPerRequest, b.load.Spread, b.rounds, b.duration, b.warmUp, runtime.NumCPU(), runtime.Version())
	if err := b.measureAll(ctx, versions); err != nil {
		return err
	}
	missed := b.printMarks()
	if *check && len(missed) > 0 {
		return fmt.Errorf("%d marks missed: %s", len(missed), strings.Join(missed, "; "))
	}
	return nil
}

// measureAll runs the groups and prints their tables.
func (b *bench) measureAll(ctx context.Context, versions []load.Protocol) error {
	for _, g := range groups() {
		of := versions
		if !g.everyProtocol {
			of = versions[:1]
		}
		for _, p := range of {
			if err := b.measureGroup(ctx, g, p); err != nil {
				return err
			}
		}
	}
	if b.wants(orderScenario) {
		if err := b.measureOrder(ctx, versions[0]); err != nil {
			return fmt.Errorf("%s: %w", orderScenario, err)
		}
	}
	for _, g := range []struct {
		name    string
		measure func(context.Context) error
	}{{remoteReadScenario, b.measureRemoteRead}, {promqlScenario, b.measureAnswers}, {pushDownScenario, b.measurePushDown}, {localScenario, b.measureLocal}} {
		if !b.wants(g.name) {
			continue
		}
		if err := g.measure(ctx); err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
	}
	if b.wants(soakScenario) && b.soak > 0 {
		if err := b.measureSoak(ctx, versions[0]); err != nil {
			return fmt.Errorf("%s: %w", soakScenario, err)
		}
	}
	return nil
}

func (b *bench) wants(name string) bool { return len(b.only) == 0 || slices.Contains(b.only, name) }

// measureGroup lets the scenarios of a group take turns, and prints.
func (b *bench) measureGroup(ctx context.Context, g group, p load.Protocol) error {
	var done []*result
	for round := range b.rounds {
		for _, sc := range g.scenarios {
			if !b.wants(sc.name) {
				continue
			}
			fmt.Fprintf(b.progress, "%s, remote write %d.0, round %d of %d …\n", sc.name, p, round+1, b.rounds)
			key := resultKey{sc.name, p}
			r := b.results[key]
			if r == nil {
				r = &result{name: sc.name, noRatio: sc.noRatio}
				b.results[key] = r
				done = append(done, r)
			}
			if err := b.measure(ctx, sc, p, r); err != nil {
				return fmt.Errorf("%s: %w", sc.name, err)
			}
		}
	}
	if len(done) > 0 {
		b.printGroup(fmt.Sprintf("%s, remote write %d.0", g.title, p), done, b.results[resultKey{yardstickScenario, p}])
	}
	return nil
}
