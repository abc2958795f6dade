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

// name is what the user types.
const name = "timestream-local cost"

// Command asks a server and prints what it says: the one that listens where l and the environment of a server with these names have it,
// or the one of --url.
func Command(ctx context.Context, args []string, l process.Listener, stdout io.Writer) error {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(stdout) // help was asked for
	fs.StringVar(&l.Address, l.Flag, l.Address, "Address of the server's API.")
	var server tlsconfig.Server
	server.RegisterFlags(fs, "", "API")
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
