// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"

	"github.com/tributary-project/tributary/e2e/internal/proc"
	"github.com/tributary-project/tributary/e2e/internal/standin"
)

// standInCommand is the first argument of a benche2e that is not a benchmark but an endpoint for one, in a process of its own so
// that what it costs is known.
const standInCommand = "results-stand-in"

// pageLatency is how long the stand-in takes for a page.
const pageLatency = 5 * time.Millisecond

// Where the stand-in says how many calls it has answered with a page, catalogue included.
const (
	givenPath  = "/given"
	givenPages = "given_pages_total"
)

// serveResults answers queries from memory until ctx ends.
func serveResults(ctx context.Context, args []string, stderr io.Writer) error {
	results := &standin.Results{Latency: pageLatency, Marker: blockMarker, Client: &http.Client{Timeout: 5 * time.Minute}}
	fs := flag.NewFlagSet(standInCommand, flag.ContinueOnError)
	fs.SetOutput(stderr)
	address := fs.String("listen-address", "127.0.0.1:0", "Address to listen at.")
	fs.StringVar(&results.Upstream, "upstream", "", "Endpoint that knows the answers.")
	fs.IntVar(&results.Repeat, "repeat", 1, "How often the rows of a result are repeated.")
	if err := fs.Parse(args); err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", *address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("POST /", results)
	mux.HandleFunc("GET /-/ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET "+givenPath, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%s %d\n", givenPages, results.Pages())
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// startResults starts such an endpoint and returns its URL.
func (s *system) startResults(ctx context.Context, name, upstream string, repeat int) (*proc.Process, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	a, err := freeAddress()
	if err != nil {
		return nil, "", err
	}
	cmd := exec.Command(self, standInCommand, "--listen-address="+a, "--upstream="+upstream, fmt.Sprintf("--repeat=%d", repeat)) //nolint:noctx // it is ended by its signal
	p, err := proc.StartCommand(ctx, name, s.dir, "http://"+a+"/-/ready", cmd)
	if err != nil {
		return nil, "", err
	}
	s.processes = append(s.processes, p)
	return p, "http://" + a, nil
}
