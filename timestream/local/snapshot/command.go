// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/process"
	"github.com/tributary-project/tributary/internal/tlsconfig"
	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/local/adminport"
)

// Command is the `snapshot` subcommand of a process, with the names and defaults of that process's flags.
type Command struct {
	// Name is what the user types: `timestream-local snapshot`.
	Name string
	// EnvPrefix is that of the process's environment names, Prefix that of the flags of the store.
	EnvPrefix, Prefix string
	// Dir is the data directory.
	Dir string
	// Address is that of the API's listener, which serves snapshots when Admin has no address.
	Address string
	Admin   adminport.Options
}

// Run makes a snapshot: of the process that has the data directory open, by its listener, or of the directory itself when
// none has.
func (c Command) Run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet(c.Name, flag.ContinueOnError)
	fs.SetOutput(stdout) // help was asked for
	to := fs.String("to", "", "Where the snapshot goes: a file, or a directory, which becomes a data directory to start with.")
	overwrite := fs.Bool("overwrite", false, "Replace the file when it is there.")
	url := fs.String("url", "", "Ask this server, http://host:port, instead of the one that has the data directory open.")
	cfg := local.DefaultConfig()
	fs.Var(&cfg.MemoryLimit, "check-memory", "Memory for checking the copy.")
	fs.StringVar(&c.Dir, "data-dir", c.Dir, "Directory of the database.")
	api := tlsconfig.Server{}
	fs.StringVar(&c.Address, c.Prefix+"listen-address", c.Address, "Address of the API, where a process without an admin listener serves snapshots.")
	api.RegisterFlags(fs, c.Prefix, "API")
	c.Admin.RegisterFlags(fs, c.Prefix)
	if err := flags.Parse(fs, args, flags.Options{
		Prefix: c.EnvPrefix,
		About: "Copies the database into one file, consistent as of a moment after the command began: everything that was acknowledged before\n" +
			"is in it. A running process goes on writing meanwhile. The copy is read again before it gets its name. To restore it, put it\n" +
			"into an empty directory as " + fileName + " and start with that as --data-dir.",
	}); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return process.UsageError{Err: err}
	}
	if *to == "" {
		return process.UsageError{Err: errors.New("--to: say where the snapshot should go")}
	}
	t, err := newTarget(*to, *overwrite)
	if err != nil {
		return err
	}
	if err := t.check(); err != nil {
		return err
	}
	began := time.Now()
	src, from, err := c.source(ctx, *url, api)
	if err != nil {
		return fmt.Errorf("snapshot of %s: %w", from, err)
	}
	defer src.close()
	contents, err := t.write(ctx, src, cfg, func(s string) { fmt.Fprintln(stderr, s) })
	if err != nil {
		return fmt.Errorf("snapshot of %s: %w", from, err)
	}
	fmt.Fprintf(stdout, "%s: %s, %s, %s of %s; %v\n", t.file, counted(contents.Databases, "database"), counted(contents.Tables, "table"), counted(contents.Records, "record"), from, time.Since(began).Round(time.Millisecond))
	return nil
}

// counted is a number of things, by the name of one of them.
func counted[N int | int64](n N, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

// source finds out who has the data, and says where it comes from.
func (c Command) source(ctx context.Context, url string, api tlsconfig.Server) (source, string, error) {
	holder := ""
	if url == "" {
		s, err := local.SnapshotStopped(c.Dir)
		inUse := new(local.InUseError)
		if !errors.As(err, &inUse) {
			if err != nil {
				return nil, c.Dir, err
			}
			return &stopped{s: s}, c.Dir, nil
		}
		holder = inUse.Holder
	}
	l, tls := process.Listener{Flag: c.Prefix + "admin.listen-address", Address: c.Admin.Address}, c.Admin.TLS
	if l.Address == "" {
		l, tls = process.Listener{Flag: c.Prefix + "listen-address", Address: c.Address}, api
	}
	base := url
	if base == "" {
		var err error
		if base, err = l.URL(tls.Enabled()); err != nil {
			return nil, c.Dir, process.UsageError{Err: err}
		}
	}
	conf, err := process.ClientTLS(tls)
	if err != nil {
		return nil, base, err
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, ResponseHeaderTimeout: time.Minute, DisableCompression: true}}
	src, err := fetch(ctx, client, base+Path, holder)
	if err != nil && holder != "" {
		err = fmt.Errorf("process %s has the directory open, but does not give a snapshot of it (--%s, --url): %w", holder, l.Flag, err)
	}
	return src, base, err
}
