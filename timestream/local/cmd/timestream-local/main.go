// SPDX-License-Identifier: Apache-2.0

// Command timestream-local serves the Write and Query APIs of Amazon Timestream for LiveAnalytics from one directory. All
// of it is in packages local and wire; here are only its flags and its listeners.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/tributary-project/tributary/internal/admin"
	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/logging"
	"github.com/tributary-project/tributary/internal/process"
	"github.com/tributary-project/tributary/internal/tlsconfig"
	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/local/adminport"
	"github.com/tributary-project/tributary/timestream/local/cost"
	"github.com/tributary-project/tributary/timestream/local/snapshot"
	"github.com/tributary-project/tributary/timestream/local/status"
	"github.com/tributary-project/tributary/timestream/local/wire"
)

// version is set by the linker.
var version string

func main() { os.Exit(process.Main(run)) }

// drain is how long requests in flight may take after the process was told to end.
const drain = 10 * time.Second

// envPrefix starts the environment names of the flags.
const envPrefix = "TIMESTREAM_LOCAL"

// config is what the flags say about the process.
type config struct {
	address string
	wire    wire.Options
	tls     tlsconfig.Server
	admin   adminport.Options
	local   local.Config
	logging logging.Config
}

func defaultConfig() config {
	c := config{address: "127.0.0.1:9231", admin: adminport.DefaultOptions(), wire: wire.DefaultOptions(), local: local.DefaultConfig(), logging: logging.DefaultConfig()}
	c.local.Dir = "./data"
	return c
}

func (c *config) registerFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.address, "listen-address", c.address, "Address for the Write and Query APIs, the status page (/), /metrics, /-/healthy, /-/ready and /debug/pprof. Signatures are not checked: keep it to trusted clients.")
	fs.StringVar(&c.local.Dir, "data-dir", c.local.Dir, "Directory of the database; created when missing. One process at a time.")
	fs.StringVar(&c.local.DefaultDatabase, "default-database", c.local.DefaultDatabase, "Database to create at start when it is missing; empty, with --default-table, for none.")
	fs.StringVar(&c.local.DefaultTable, "default-table", c.local.DefaultTable, "Table to create at start when it is missing, with magnetic-store writes on.")
	fs.StringVar(&c.local.Region, "region", c.local.Region, "AWS Region that appears in ARNs.")
	c.tls.RegisterFlags(fs, "", "API")
	c.admin.RegisterFlags(fs, "")
	c.local.RegisterFlags(fs, "")
	c.wire.RegisterFlags(fs, "")
	c.logging.RegisterFlags(fs)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	cfg := defaultConfig()
	if len(args) > 0 && args[0] == "healthcheck" {
		return process.Healthcheck(ctx, args[1:], process.Listener{Flag: "listen-address", EnvPrefix: envPrefix, Address: cfg.address}, stderr)
	}
	if len(args) > 0 && args[0] == "cost" {
		return cost.Command{Name: "timestream-local cost", EnvPrefix: envPrefix, Address: cfg.address}.Run(ctx, args[1:], stdout)
	}
	if len(args) > 0 && args[0] == "snapshot" {
		return snapshot.Command{
			Name: "timestream-local snapshot", EnvPrefix: envPrefix, Dir: cfg.local.Dir, Address: cfg.address, Admin: cfg.admin,
		}.Run(ctx, args[1:], stdout, stderr)
	}
	if len(args) > 0 && (args[0] == "version" || args[0] == "--version") {
		_, err := fmt.Fprintln(stdout, "timestream-local", process.ReadBuild(version))
		return err
	}
	fs := flag.NewFlagSet("timestream-local", flag.ContinueOnError)
	fs.SetOutput(stdout) // help was asked for
	cfg.registerFlags(fs)
	if err := flags.Parse(fs, args, flags.Options{
		Prefix:    envPrefix,
		LowerCase: []string{"default-database", "default-table", "region", "enable-logging", "log.level", "log.format"}, // as the awslabs connector has them
		About:     "Amazon Timestream for LiveAnalytics on one machine, over DuckDB.\n`timestream-local healthcheck` asks a server that runs with the same environment for its health and exits 0 or 1.\n`timestream-local snapshot --to FILE` copies the database while it is used, or while it is not (--help lists its flags).\n`timestream-local version` prints what was built.\n`timestream-local cost` prints what the workload of one that runs would cost on Amazon Timestream.",
	}); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return process.UsageError{Err: err}
	}
	if err := errors.Join(cfg.local.Validate(), cfg.wire.Validate(), cfg.logging.Validate()); err != nil {
		return process.UsageError{Err: err}
	}
	tls, err := cfg.tls.Config()
	if err != nil {
		return process.UsageError{Err: err}
	}

	logger, reg := logging.New(cfg.logging, stderr), admin.NewRegistry()
	build := process.ReadBuild(version)
	build.Register(reg, "timestream_local")
	cfg.local.Logger, cfg.local.Registerer = logger, reg
	cfg.wire.Logger, cfg.wire.Registerer = logger, reg
	if debug.SetMemoryLimit(-1) == math.MaxInt64 { // or GOMEMLIMIT says otherwise
		debug.SetMemoryLimit(cfg.local.HeapLimit())
	}
	db, err := local.Open(ctx, cfg.local)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	mux := http.NewServeMux()
	ready := func(string) error { return db.Ready() }
	admin.Register(mux, "/metrics", reg, ready)
	mux.Handle("/", wire.New(db, cfg.wire))
	operation, err := adminport.New(cfg.admin, adminport.Deps{API: mux, Registry: reg, Ready: ready, Drain: drain, Logger: logger})
	if err != nil {
		return err
	}
	operation.Handle(cost.Path, cost.Handler(db))
	operation.Handle(wire.FaultsPath, cfg.wire.Faults)
	operation.Handle(wire.FaultsPath+"/", cfg.wire.Faults)
	operation.Handle(snapshot.Path, snapshot.Handler(db, logger))
	mux.Handle("GET /{$}", status.New(status.Options{
		Store: db, Gatherer: reg, Build: build, Settings: flags.Settings(fs), Faults: cfg.wire.Faults.String, Admin: operation.URL(), Logger: logger,
	}))
	server, err := process.NewHTTPServer("listen-address", cfg.address, tls, mux, drain, logger)
	if err != nil {
		return errors.Join(err, operation.Close())
	}
	if plan := cfg.wire.Faults.String(); plan != "" {
		logger.Warn("calls fail on demand", "faults", plan)
	}
	logger.Info("serving Timestream", "url", server.URL(), "admin", operation.URL(), "database", cfg.local.DefaultDatabase, "table", cfg.local.DefaultTable)
	if err := process.Run(ctx, server.Serve, operation.Serve, db.AwaitFailure); err != nil {
		return err
	}
	logger.Info("stopped")
	return nil
}
