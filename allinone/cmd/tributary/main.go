// SPDX-License-Identifier: Apache-2.0

// Command tributary is everything in one binary. `tributary all` runs gateway, ingest, query and, unless told to use
// Amazon Timestream, timestream-local in one process.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/tributary-project/tributary/gateway"
	"github.com/tributary-project/tributary/internal/process"
	"github.com/tributary-project/tributary/services/ingest"
	"github.com/tributary-project/tributary/timestream/local/cost"
	"github.com/tributary-project/tributary/timestream/local/snapshot"
)

// version is set by the linker.
var version string

func main() { os.Exit(process.Main(run)) }

const usage = `Usage: tributary <command> [flags]

Commands:
  all          run gateway, ingest, query and the embedded store in one process (--help lists its flags)
  snapshot     copy the embedded store's database, while it is used or while it is not (--help lists its flags)
  cost         tell what the workload would cost on Amazon Timestream (--help lists its flags)
  healthcheck  ask a 'tributary all' of the same environment for its health; exit code 0 or 1
  version      print what was built
`

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return process.UsageError{Err: fmt.Errorf("no command given")}
	}
	switch args[0] {
	case "all":
		return runAll(ctx, args[1:], stdout, stderr)
	case "healthcheck":
		return process.Healthcheck(ctx, args[1:], process.Listener{Flag: "web.listen-address", EnvPrefix: ingest.EnvPrefix, Address: gateway.DefaultConfig().ListenAddress}, stderr)
	case "snapshot":
		cfg := defaultConfig()
		return snapshot.Command{
			Name: "tributary snapshot", EnvPrefix: ingest.EnvPrefix, Prefix: embedded, Dir: cfg.local.Dir, Address: cfg.localAddress, Admin: cfg.localAdmin,
		}.Run(ctx, args[1:], stdout, stderr)
	case "cost":
		return cost.Command{Name: "tributary cost", EnvPrefix: ingest.EnvPrefix, Prefix: embedded, Address: defaultConfig().localAddress}.Run(ctx, args[1:], stdout)
	case "version", "--version":
		b := process.ReadBuild(version)
		fmt.Fprintln(stdout, "tributary", b)
		return nil
	case "help", "--help", "-h":
		fmt.Fprint(stdout, usage)
		return nil
	}
	fmt.Fprint(stderr, usage)
	return process.UsageError{Err: fmt.Errorf("unknown command %q", args[0])}
}
