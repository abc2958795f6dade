// SPDX-License-Identifier: Apache-2.0

// Command ingest runs the ingest service. `ingest healthcheck` asks a running one for its health.
package main

import (
	"context"
	"flag"
	"io"
	"os"
	"runtime/debug"

	"github.com/tributary-project/tributary/internal/admin"
	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/logging"
	"github.com/tributary-project/tributary/internal/process"
	"github.com/tributary-project/tributary/services/ingest"
)

// version is set by the linker.
var version string

func main() { os.Exit(process.Main(run)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cfg := ingest.DefaultConfig()
	if len(args) > 0 && args[0] == "healthcheck" {
		return process.Healthcheck(ctx, args[1:], process.Listener{Flag: "web.listen-address", EnvPrefix: ingest.EnvPrefix, Address: cfg.AdminAddress}, stderr)
	}
	// Collections are cheap here, a few per cent of the processor time, and memory is not: this keeps the peaks of many
	// senders at once, most of which is garbage, below a quarter of a GiB.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(75)
	}
	fs := flag.NewFlagSet("ingest", flag.ContinueOnError)
	fs.SetOutput(stdout) // help was asked for
	cfg.RegisterFlags(fs)
	err := flags.Parse(fs, args, flags.Options{
		Prefix:    ingest.EnvPrefix,
		LowerCase: ingest.LowerCaseEnv(),
		Foreign:   ingest.ForeignEnv(),
		About:     "The ingest service of Tributary: stores Prometheus' samples in Amazon Timestream.\n`ingest healthcheck` asks a service that runs with the same environment for its health and exits 0 or 1.",
	})
	if err != nil {
		return process.UsageError{Err: err}
	}
	if err := cfg.Validate(); err != nil {
		return process.UsageError{Err: err}
	}
	i, err := ingest.New(ctx, cfg, ingest.ProcessDeps{
		Logger:   logging.New(cfg.Log, stderr),
		Registry: admin.NewRegistry(),
		Build:    process.ReadBuild(version),
		Settings: flags.Settings(fs),
	})
	if err != nil {
		return err
	}
	return i.Run(ctx)
}
