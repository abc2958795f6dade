// SPDX-License-Identifier: Apache-2.0

// Command loadgen writes realistic series by remote write and says at which rate they were acknowledged. With a ledger it
// later proves by remote read that every acknowledged sample is there, bit for bit:
//
//	loadgen --url=http://127.0.0.1:9201/api/v1/write --duration=60s --ledger=ledger.json
//	loadgen verify --url=http://127.0.0.1:9201/api/v1/read --ledger=ledger.json
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/tributary-project/tributary/e2e/internal/load"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == "verify" {
		return verify(ctx, args[1:], stdout, stderr)
	}
	return write(ctx, args, stdout, stderr)
}

func write(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("loadgen", flag.ContinueOnError)
	fs.SetOutput(stderr)
	cfg := load.Config{Protocol: load.V2}
	var series int
	var run, ledger string
	var verbose bool
	fs.StringVar(&cfg.URL, "url", "http://127.0.0.1:9201/api/v1/write", "Where to write.")
	fs.IntVar((*int)(&cfg.Protocol), "protocol", int(cfg.Protocol), "Version of remote write: 1 or 2.")
	fs.IntVar(&series, "series", 10_000, "Number of series, of 8 to 14 labels.")
	fs.IntVar(&cfg.SamplesPerRequest, "samples-per-request", 2000, "Most samples in a request.")
	fs.IntVar(&cfg.Senders, "senders", 4, "Number of senders; the series are shared between them.")
	fs.DurationVar(&cfg.Duration, "duration", 30*time.Second, "How long to write.")
	fs.Float64Var(&cfg.Rate, "rate", 0, "Samples per second of all senders together; 0 is as fast as they are taken.")
	fs.DurationVar(&cfg.RetryFor, "retry-for", time.Minute, "How long after the end a request that was not acknowledged is still retried.")
	fs.StringVar(&run, "run", "", "Value of the label cluster, by which this run is read back; by default the time.")
	fs.StringVar(&ledger, "ledger", "", "File for what was acknowledged, for 'loadgen verify'.")
	fs.BoolVar(&verbose, "verbose", false, "Print each attempt that was not acknowledged.")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if run == "" {
		run = "load-" + strconv.FormatInt(time.Now().Unix(), 10)
	}
	cfg.Set = load.NewSet(series, run)
	if verbose {
		cfg.Warn = func(message string) { fmt.Fprintln(stderr, time.Now().UTC().Format(time.RFC3339Nano), message) }
	}
	report, err := load.Run(ctx, cfg)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "run            %s, remote write %d, %d series, %d senders\n", run, cfg.Protocol, series, cfg.Senders)
	fmt.Fprintf(stdout, "acknowledged   %d samples in %.1f s: %.0f samples/s\n", report.SamplesAcknowledged, report.Elapsed.Seconds(), report.SamplesPerSecond())
	fmt.Fprintf(stdout, "requests       %d acknowledged, %d rejected, %d abandoned; %d attempts, %d bytes\n",
		report.Acknowledged, report.Rejected, report.Abandoned, report.Attempts, report.BytesSent)
	fmt.Fprintf(stdout, "latency        p50 %s, p99 %s; longest wait for an acknowledgement, retries included, %s\n",
		report.Latency(0.5).Round(time.Millisecond), report.Latency(0.99).Round(time.Millisecond), report.LongestWait.Round(time.Millisecond))
	if ledger != "" {
		if err := report.Ledger.Save(ledger); err != nil {
			return err
		}
	}
	switch {
	case report.Rejected > 0:
		return fmt.Errorf("%d requests were rejected, the first with: %s", report.Rejected, report.FirstRejection)
	case report.WrongCounts > 0:
		return fmt.Errorf("%d requests were acknowledged without saying that all their samples were written", report.WrongCounts)
	case report.Acknowledged == 0:
		return errors.New("nothing was acknowledged")
	}
	return nil
}

func verify(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("loadgen verify", flag.ContinueOnError)
	fs.SetOutput(stderr)
	url := fs.String("url", "http://127.0.0.1:9201/api/v1/read", "Where to read.")
	path := fs.String("ledger", "", "File that a run wrote.")
	span := fs.Duration("span", time.Minute, "Time that one query covers.")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *span < time.Millisecond {
		return fmt.Errorf("--span=%s: must be a millisecond or more", *span)
	}
	ledger, err := load.ReadLedger(*path)
	if err != nil {
		return err
	}
	start := time.Now()
	v, err := ledger.Verify(ctx, &http.Client{Timeout: 2 * time.Minute}, *url, *span)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "verified       %d acknowledged samples, %d found in %.1f s; %d found that were sent without an acknowledgement\n",
		v.Acknowledged, v.Found, time.Since(start).Seconds(), v.Unacknowledged)
	if v.OK() {
		return nil
	}
	for _, e := range v.Examples {
		fmt.Fprintln(stderr, e)
	}
	return fmt.Errorf("%d missing, %d different, %d never sent, %d repeated", v.Missing, v.Different, v.Foreign, v.Repeated)
}
