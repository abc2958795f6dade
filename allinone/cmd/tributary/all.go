// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-project/tributary/allinone"
	"github.com/tributary-project/tributary/internal/admin"
	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/logging"
	"github.com/tributary-project/tributary/internal/process"
	"github.com/tributary-project/tributary/internal/tlsconfig"
	"github.com/tributary-project/tributary/services/ingest"
	"github.com/tributary-project/tributary/timestream/client"
	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/local/adminport"
	"github.com/tributary-project/tributary/timestream/local/cost"
	"github.com/tributary-project/tributary/timestream/local/snapshot"
	"github.com/tributary-project/tributary/timestream/local/status"
	"github.com/tributary-project/tributary/timestream/local/wire"
)

// Values of --store.
const (
	storeLocal      = "local"
	storeTimestream = "timestream"
)

// config is what the flags of `tributary all` say.
type config struct {
	app        allinone.Config
	store      string
	timestream client.Config
	local      local.Config
	// localAddress is where timestream-local serves the AWS API. Empty: nowhere.
	localAddress string
	localTLS     tlsconfig.Server
	localAdmin   adminport.Options
	localWire    wire.Options
	logging      logging.Config
}

func defaultConfig() config {
	c := config{
		app: allinone.DefaultConfig(), store: storeLocal, timestream: client.DefaultConfig(),
		local: local.DefaultConfig(), localAddress: "127.0.0.1:9231", localWire: wire.DefaultOptions(), logging: logging.DefaultConfig(),
	}
	c.local.Dir = "./data"
	c.local.Limits = "" // as ingest reads them
	return c
}

// localDrain is how long requests to the embedded store's listeners may take after the process was told to end.
const localDrain = 10 * time.Second

// embedded is the prefix of timestream-local's own flags here.
const embedded = "local."

func (c *config) registerFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.store, "store", c.store, "Where samples are stored: local (the embedded timestream-local) or timestream (Amazon Timestream, or the server at --timestream.endpoint).")
	fs.StringVar(&c.app.Ingest.Database, "default-database", c.app.Ingest.Database, "Timestream database to write to and read from.")
	fs.StringVar(&c.app.Ingest.Table, "default-table", c.app.Ingest.Table, "Timestream table to write to and read from.")
	c.app.Ingest.AllowedTables.RegisterFlag(fs)
	c.app.Gateway.RegisterFlags(fs)
	c.app.Ingest.RegisterFlags(fs)
	c.app.Delta.RegisterFlags(fs)
	c.app.Query.RegisterReadFlags(fs)
	c.timestream.RegisterFlags(fs)
	c.logging.RegisterFlags(fs)

	fs.StringVar(&c.localAddress, embedded+"listen-address", c.localAddress, "Address at which the embedded store serves Timestream's API, for the AWS CLI and SDKs. Signatures are not checked: keep it to trusted clients. Empty: nowhere.")
	c.localTLS.RegisterFlags(fs, embedded, "embedded store's")
	fs.StringVar(&c.local.Dir, "data-dir", c.local.Dir, "Embedded store: directory of the database; created when missing. One process at a time.")
	own := flag.NewFlagSet("", flag.ContinueOnError)
	c.local.RegisterFlags(own, embedded)
	c.localWire.RegisterFlags(own, embedded)
	c.localAdmin.RegisterFlags(own, embedded)
	own.VisitAll(func(f *flag.Flag) {
		usage := "Embedded store: " + f.Usage
		if f.Name == embedded+"limits" {
			usage += " Default: as --timestream.limits, so that the store takes what ingest sends."
		}
		fs.Var(f.Value, f.Name, usage)
	})
}

// storeConfig is the configuration of the embedded store with what it shares with the other parts.
func (c *config) storeConfig() local.Config {
	cfg := c.local
	cfg.DefaultDatabase, cfg.DefaultTable = c.app.Ingest.Database, c.app.Ingest.Table
	cfg.Region = cmp.Or(c.timestream.Region, cfg.Region)
	cfg.Limits = cmp.Or(cfg.Limits, local.Limits(c.app.Ingest.Limits))
	return cfg
}

func (c *config) validate() error {
	err := errors.Join(c.app.Gateway.Validate(), c.app.Ingest.Validate(), c.app.Delta.Validate(), c.app.Query.Validate(), c.logging.Validate())
	if c.app.Delta.Enabled && c.app.Ingest.OTLP.NativeDelta {
		err = errors.Join(err, errors.New("--otlp.convert-delta: has no place beside --otlp.native-delta: deltas are either made cumulative or stored as they are"))
	}
	switch c.store {
	case storeTimestream:
		return errors.Join(err, c.timestream.Validate(), c.app.Ingest.ValidateConnections(c.timestream))
	case storeLocal:
		if c.timestream.Endpoint != "" {
			err = errors.Join(err, fmt.Errorf("--timestream.endpoint is of no effect with --store=%s; add --store=%s", storeLocal, storeTimestream))
		}
		store := c.storeConfig()
		return errors.Join(err, store.Validate(), c.localWire.Validate())
	}
	return errors.Join(err, fmt.Errorf("--store=%q: want %s or %s", c.store, storeLocal, storeTimestream))
}

func runAll(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	cfg := defaultConfig()
	fs := flag.NewFlagSet("tributary all", flag.ContinueOnError)
	fs.SetOutput(stdout) // help was asked for
	cfg.registerFlags(fs)
	if err := flags.Parse(fs, args, flags.Options{
		Prefix:    ingest.EnvPrefix,
		LowerCase: append(ingest.LowerCaseEnv(), "max-retries", "log.level", "log.format"),
		Foreign:   ingest.ForeignEnv(),
		About:     "All of Tributary in one process: Prometheus remote write, OTLP, PromQL by the HTTP API of Prometheus (a Grafana data source),\nremote read and SQL; samples in Amazon Timestream or in the embedded store.",
	}); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return process.UsageError{Err: err}
	}
	if err := cfg.validate(); err != nil {
		return process.UsageError{Err: err}
	}
	logger, reg := logging.New(cfg.logging, stderr), admin.NewRegistry()
	deps := allinone.Deps{Logger: logger, Registry: reg, Build: process.ReadBuild(version), Settings: flags.Settings(fs)}

	var actors []process.Actor
	closeStore := func() error { return nil }
	switch cfg.store {
	case storeLocal:
		actors, closeStore, err = cfg.openLocal(ctx, &deps, logger, reg)
	case storeTimestream:
		err = cfg.openTimestream(ctx, &deps)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStore()) }()

	app, err := allinone.New(cfg.app, deps)
	if err != nil {
		return err
	}
	actors = append(actors, app.Run, func(ctx context.Context) error {
		if app.WaitReady(ctx) == nil { // otherwise it is ending already, and says why elsewhere
			printWelcome(stdout, app.URL(), deps.Target, cfg, cfg.storeWarning(ctx, deps.Querier))
		}
		return nil
	})
	if err := process.Run(ctx, actors...); err != nil {
		return err
	}
	logger.Info("stopped")
	return nil
}

// openLocal opens the embedded store, hands it to the services, and returns actors: one that ends the process when the
// store has to be opened anew, and those that serve its API and its administration if these have addresses.
func (c *config) openLocal(ctx context.Context, deps *allinone.Deps, logger *slog.Logger, reg *prometheus.Registry) ([]process.Actor, func() error, error) {
	cfg := c.storeConfig()
	cfg.Logger, cfg.Registerer = logger.With("component", "timestream-local"), reg
	tls, err := c.localTLS.Config()
	if err != nil {
		return nil, nil, process.UsageError{Err: err}
	}
	db, err := local.Open(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	deps.Writer, deps.Querier, deps.Target = db, db, "timestream-local in "+cfg.Dir
	mux := http.NewServeMux()
	operation, err := adminport.New(c.localAdmin, adminport.Deps{API: mux, Registry: reg, Ready: func(string) error { return db.Ready() }, Drain: localDrain, Logger: logger})
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	actors := []process.Actor{db.AwaitFailure, operation.Serve}
	operation.Handle(snapshot.Path, snapshot.Handler(db, logger))
	operation.Handle(cost.Path, cost.Handler(db))
	if c.localAddress == "" {
		return actors, db.Close, nil
	}
	options := c.localWire
	options.Logger, options.Registerer = cfg.Logger, reg
	if plan := options.Faults.String(); plan != "" {
		logger.Warn("calls over HTTP fail on demand, but not those of this process' own services: to test these, run timestream-local --faults=… and tributary all --store=timestream --timestream.endpoint=… --timestream.local-credentials", "faults", plan)
	}
	mux.Handle("/", wire.New(db, options))
	operation.Handle(wire.FaultsPath, options.Faults)
	operation.Handle(wire.FaultsPath+"/", options.Faults)
	admin.Register(mux, "/metrics", reg, func(string) error { return db.Ready() })
	mux.Handle("GET /{$}", status.New(status.Options{
		Store: db, Gatherer: reg, Build: deps.Build, Settings: storeSettings(deps.Settings), Faults: options.Faults.String, Admin: operation.URL(), Logger: cfg.Logger,
	}))
	server, err := process.NewHTTPServer(embedded+"listen-address", c.localAddress, tls, mux, localDrain, logger)
	if err != nil {
		return nil, nil, errors.Join(err, operation.Close(), db.Close())
	}
	return append(actors, server.Serve), db.Close, nil
}

// storeSettings are the settings of the embedded store.
func storeSettings(all []flags.Setting) []flags.Setting {
	return slices.DeleteFunc(slices.Clone(all), func(s flags.Setting) bool {
		return !strings.HasPrefix(s.Name, embedded) && !slices.Contains([]string{"data-dir", "default-database", "default-table", "region"}, s.Name)
	})
}

// openTimestream makes the AWS SDK's clients. It calls nothing: Timestream may be away.
func (c *config) openTimestream(ctx context.Context, deps *allinone.Deps) error {
	cfg := c.timestream
	cfg.UserAgent, cfg.Logger = "tributary/"+deps.Build.Version, deps.Logger
	writer, err := client.NewWrite(ctx, cfg)
	if err != nil {
		return err
	}
	querier, err := client.NewQuery(ctx, cfg)
	if err != nil {
		return err
	}
	deps.Writer, deps.Querier, deps.Target = client.NewRecordsWriter(writer, time.Now), client.NewQuerier(querier), cfg.Target()
	return nil
}
