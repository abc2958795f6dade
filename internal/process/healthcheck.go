// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/tlsconfig"
)

// Listener says which flags and variables give the address and the TLS of the HTTP listener that a health check asks.
type Listener struct {
	// Flag is the name of the flag with the address; those of TLS have their names without a prefix.
	Flag string
	// EnvPrefix is that of the process's environment names.
	EnvPrefix string
	// Address is the default, host:port.
	Address string
}

// Healthcheck is the `healthcheck` subcommand of an image without a shell: it asks /-/healthy of the process that was
// started in the same environment, or --url, and fails unless the answer is 200. The listener's flags may be repeated
// on its command line. Certificates are not verified: it asks only its own container. A listener that wants a
// certificate is shown its own.
func Healthcheck(ctx context.Context, args []string, l Listener, stderr io.Writer) error {
	fs := flag.NewFlagSet("healthcheck", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&l.Address, l.Flag, l.Address, "Address that the process listens on.")
	var server tlsconfig.Server
	server.RegisterFlags(fs, "", "HTTP")
	url := fs.String("url", "", "What to ask instead of /-/healthy of that listener.")
	timeout := fs.Duration("timeout", 3*time.Second, "How long to wait for the answer.")
	if err := flags.Parse(fs, args, flags.Options{
		Prefix: l.EnvPrefix,
		About:  "Asks the process that runs with the same environment for its health and exits 0 or 1. A listener that wants client\ncertificates is shown its own.",
	}); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return UsageError{err}
	}
	t, err := ClientTLS(server)
	if err != nil {
		return err
	}
	if *url == "" {
		base, err := l.URL(server.Enabled())
		if err != nil {
			return UsageError{err}
		}
		*url = base + "/-/healthy"
	}
	return ask(ctx, *url, *timeout, t)
}

func ask(ctx context.Context, url string, timeout time.Duration, t *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return UsageError{err}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: t}}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, res.Status, body)
	}
	return nil
}

// ClientTLS is what a client on the same machine needs for a listener with this configuration. It does not verify
// certificates: it asks only its own host.
func ClientTLS(s tlsconfig.Server) (*tls.Config, error) {
	c := tlsconfig.Client{Enabled: true}
	if s.ClientCAFile != "" {
		c.CertFile, c.KeyFile = s.CertFile, s.KeyFile
	}
	out, err := c.Config()
	if err != nil {
		return nil, err
	}
	out.InsecureSkipVerify = true //nolint:gosec // asks its own container only
	return out, nil
}

// URL is the base URL at which a process that listens as l says is reached from its own machine; an address that stands for
// all is asked on loopback. secure tells that it speaks TLS.
func (l Listener) URL(secure bool) (string, error) {
	host, port, err := net.SplitHostPort(l.Address)
	if err != nil {
		return "", fmt.Errorf("--%s=%s: %w", l.Flag, l.Address, err)
	}
	switch host {
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	scheme := "http"
	if secure {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, port), nil
}
