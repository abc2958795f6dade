// SPDX-License-Identifier: Apache-2.0

// Command gateway is the HTTP edge of Tributary as a process of its own. Everything it does is in package gateway;
// here are only its flags and its connections.
package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"

	"google.golang.org/grpc"

	"github.com/tributary-project/tributary/gateway"
	"github.com/tributary-project/tributary/internal/admin"
	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/grpcclient"
	"github.com/tributary-project/tributary/internal/logging"
	"github.com/tributary-project/tributary/internal/process"
	"github.com/tributary-project/tributary/internal/rawcodec"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
)

// version is set by the linker.
var version string

func main() { os.Exit(process.Main(run)) }

// envPrefix starts the environment names of the flags.
const envPrefix = "TRIBUTARY"

// config is what the flags say about the process.
type config struct {
	gateway       gateway.Config
	ingest, query grpcclient.Config
	logging       logging.Config
}

func defaultConfig() config {
	return config{
		gateway: gateway.DefaultConfig(),
		ingest:  grpcclient.Config{Target: "127.0.0.1:9211"},
		query:   grpcclient.Config{Target: "127.0.0.1:9221"},
		logging: logging.DefaultConfig(),
	}
}

func (c *config) registerFlags(fs *flag.FlagSet) {
	c.gateway.RegisterFlags(fs)
	c.ingest.RegisterFlags(fs, "ingest")
	c.query.RegisterFlags(fs, "query")
	c.logging.RegisterFlags(fs)
}

func (c *config) validate() error {
	return errors.Join(c.gateway.Validate(), c.ingest.Validate("ingest"), c.query.Validate("query"), c.logging.Validate())
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	cfg := defaultConfig()
	if len(args) > 0 && args[0] == "healthcheck" {
		return process.Healthcheck(ctx, args[1:], process.Listener{Flag: "web.listen-address", EnvPrefix: envPrefix, Address: cfg.gateway.ListenAddress}, stderr)
	}
	fs := flag.NewFlagSet("gateway", flag.ContinueOnError)
	fs.SetOutput(stdout) // help was asked for
	cfg.registerFlags(fs)
	if err := flags.Parse(fs, args, flags.Options{
		Prefix:    envPrefix,
		LowerCase: []string{"enable-logging", "log.level", "log.format"}, // as the awslabs connector has them
		About:     "The edge of Tributary, in front of the ingest and query services: Prometheus remote write, OTLP, PromQL by the HTTP API of Prometheus\n(a Grafana data source), remote read and SQL.\n`gateway healthcheck` asks a gateway that runs with the same environment for its health and exits 0 or 1.",
	}); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return process.UsageError{Err: err}
	}
	if err := cfg.validate(); err != nil {
		return process.UsageError{Err: err}
	}

	cfg.ingest.MaxMessageBytes = cfg.gateway.IngestMessageBytes()
	ingest, err := grpcclient.Dial(cfg.ingest, ingestv1.IngestService_ServiceDesc.ServiceName,
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawcodec.New())))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ingest.Close()) }()
	cfg.query.MaxMessageBytes = cfg.gateway.QueryMessageBytes()
	query, err := grpcclient.Dial(cfg.query, queryv1.QueryService_ServiceDesc.ServiceName)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, query.Close()) }()

	g, err := gateway.New(cfg.gateway, gateway.Deps{
		Ingest:   gateway.Backend{Conn: ingest, Target: cfg.ingest.Target},
		Query:    gateway.Backend{Conn: query, Target: cfg.query.Target},
		Logger:   logging.New(cfg.logging, stderr),
		Registry: admin.NewRegistry(),
		Build:    process.ReadBuild(version),
		Settings: flags.Settings(fs),
	})
	if err != nil {
		return err
	}
	return g.Run(ctx)
}
