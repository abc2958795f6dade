// SPDX-License-Identifier: Apache-2.0

package cost

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"

	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/process"
	"github.com/tributary-project/tributary/internal/tlsconfig"
)

// Command is the `cost` subcommand of a process, with the names and defaults of that process's flags.
type Command struct {
	// Name is what the user types: `timestream-local cost`.
	Name string
	// EnvPrefix is that of the process's environment names, Prefix that of the flags of the store.
	EnvPrefix, Prefix string
	// Address is that of the API's listener.
	Address string
}

// Run asks a server and prints what it says: the one that listens where the environment has it, or the one of --url.
func (c Command) Run(ctx context.Context, args []string, stdout io.Writer) error {
	fs := flag.NewFlagSet(c.Name, flag.ContinueOnError)
	fs.SetOutput(stdout) // help was asked for
	l := process.Listener{Flag: c.Prefix + "listen-address", EnvPrefix: c.EnvPrefix, Address: c.Address}
	fs.StringVar(&l.Address, l.Flag, l.Address, "Address of the server's API.")
	var server tlsconfig.Server
	server.RegisterFlags(fs, c.Prefix, "API")
	url := fs.String("url", "", "Ask this server, http://host:port, instead.")
	region := fs.String("region", "us-east-1", "AWS Region to say in the request.")
	if err := flags.Parse(fs, args, flags.Options{
		Prefix: l.EnvPrefix,
		About:  "Prints what the workload of a running timestream-local would cost on Amazon Timestream, by table.\nMore is in its table \"timestream_local\".\"cost\"; DELETE /cost on the admin listener begins to count anew.\nA listener that wants client certificates is shown its own.",
	}); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return process.UsageError{Err: err}
	}
	tls, err := process.ClientTLS(server)
	if err != nil {
		return err
	}
	if *url != "" {
		tls.InsecureSkipVerify = false // another server's certificate has to be a good one
	} else if *url, err = l.URL(server.Enabled()); err != nil {
		return process.UsageError{Err: err}
	}
	client := timestreamquery.New(timestreamquery.Options{
		Region: *region, BaseEndpoint: url, Retryer: aws.NopRetryer{},
		HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: tls, Proxy: http.ProxyFromEnvironment}},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "any", SecretAccessKey: "any"}, nil // signatures are not checked
		}),
	})
	rows, err := Ask(ctx, client)
	if err != nil {
		return fmt.Errorf("no answer from %s (--%s, --url): %w", *url, l.Flag, err)
	}
	return Print(stdout, rows)
}

// Path is where a process serves Handler.
const Path = "/cost"

// resetter begins to count anew. *local.DB satisfies it.
type resetter interface {
	ResetCost(ctx context.Context) error
}

// Handler serves DELETE, which begins to count anew, and GET, which answers what Print prints.
func Handler(db interface {
	querier
	resetter
}) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("DELETE "+Path, func(w http.ResponseWriter, r *http.Request) {
		if err := db.ResetCost(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET "+Path, func(w http.ResponseWriter, r *http.Request) {
		rows, err := Ask(r.Context(), db)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_ = Print(w, rows) // the client has gone
	})
	return mux
}
