// SPDX-License-Identifier: Apache-2.0

// Command query is the query service of Tributary as a process of its own. Everything it does is in package query; here
// are only its flags and its AWS client.
package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"

	"github.com/tributary-project/tributary/internal/admin"
	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/logging"
	"github.com/tributary-project/tributary/internal/process"
	"github.com/tributary-project/tributary/services/query"
	"github.com/tributary-project/tributary/timestream/client"
)

// version is set by the linker.
var version string

func main() { os.Exit(process.Main(run)) }

// envPrefix starts the environment names of the flags.
const envPrefix = "TRIBUTARY"

// config is what the flags say about the process.
type config struct {
	query      query.Config
	timestream client.Config
	logging    logging.Config
}

func defaultConfig() config {
	return config{query: query.DefaultConfig(), timestream: client.DefaultConfig(), logging: logging.DefaultConfig()}
}

func (c *config) registerFlags(fs *flag.FlagSet) {
	c.query.RegisterFlags(fs)
	c.timestream.RegisterFlags(fs)
	c.logging.RegisterFlags(fs)
}

func (c *config) validate() error {
	return errors.Join(c.query.Validate(), c.timestream.Validate(), c.logging.Validate())
}

// connectorVariables are the flags that the Timestream connector reads from bare lower-case environment variables.
func connectorVariables() []string {
	return []string{"default-database", "default-table", "region", "max-retries", "enable-logging", "log.level", "log.format"}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cfg := defaultConfig()
	if len(args) > 0 && args[0] == "healthcheck" {
		return process.Healthcheck(ctx, args[1:], process.Listener{Flag: "web.listen-address", EnvPrefix: envPrefix, Address: cfg.query.ListenAddress}, stderr)
	}
	fs := flag.NewFlagSet("query", flag.ContinueOnError)
	fs.SetOutput(stdout) // help was asked for
	cfg.registerFlags(fs)
	if err := flags.Parse(fs, args, flags.Options{
		Prefix:    envPrefix,
		LowerCase: connectorVariables(),
		About:     "The query service of Tributary: remote read, PromQL and SQL over Amazon Timestream, or timestream-local, for the gateway.\n`query healthcheck` asks a service that runs with the same environment for its health and exits 0 or 1.",
	}); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return process.UsageError{Err: err}
	}
	if err := cfg.validate(); err != nil {
		return process.UsageError{Err: err}
	}
	build, logger := process.ReadBuild(version), logging.New(cfg.logging, stderr)
	cfg.timestream.UserAgent, cfg.timestream.Logger = "tributary-query/"+build.Version, logger
	timestream, err := client.NewQuery(ctx, cfg.timestream)
	if err != nil {
		return err
	}
	s, err := query.New(cfg.query, query.Deps{
		Timestream: client.NewQuerier(timestream),
		Target:     cfg.timestream.Target(),
		Logger:     logger,
		Registry:   admin.NewRegistry(),
		Build:      build,
		Settings:   flags.Settings(fs),
	})
	if err != nil {
		return err
	}
	return s.Run(ctx)
}
