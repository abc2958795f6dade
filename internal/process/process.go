// SPDX-License-Identifier: Apache-2.0

// Package process is what a main needs: signals, exit codes, actors that end together, an HTTP listener as an actor,
// the health check of a container without a shell, and what was built.
package process

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// Main runs run under a context that SIGINT and SIGTERM end, prints its error once, and returns the exit code: 0 for
// success and for help, 2 for a command line that is wrong (an error wrapped by UsageError), 1 for all else. A second signal kills the
// process at once.
func Main(run func(ctx context.Context, args []string, stdout, stderr io.Writer) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // back to the default action: the second signal ends the process
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	var usage UsageError
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, "error:", err)
		return 2
	}
	fmt.Fprintln(os.Stderr, "error:", err)
	return 1
}

// UsageError marks an error of the command line or the environment.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the error behind it.
func (e UsageError) Unwrap() error { return e.Err }

// Actor is something that runs until its context ends. Returning nil before that is fine and stops nobody else.
type Actor func(ctx context.Context) error

// Run runs actors until all have returned. The first error, or the end of ctx, ends the context of all. It returns the
// first error; that of a context that ended is none.
func Run(ctx context.Context, actors ...Actor) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, a := range actors {
		g.Go(func() error { return a(ctx) })
	}
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
