// SPDX-License-Identifier: Apache-2.0

package adminport_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tributary-project/tributary/internal/admin"
	"github.com/tributary-project/tributary/timestream/local/adminport"
)

// TestListener: a path is on the admin listener when there is one, where the API's says so, and on the API's otherwise.
func TestListener(t *testing.T) {
	for _, own := range []bool{true, false} {
		t.Run(fmt.Sprintf("own=%v", own), func(t *testing.T) {
			o := adminport.Options{}
			if own {
				o.Address = "127.0.0.1:0"
			}
			api := http.NewServeMux()
			l, err := adminport.New(o, adminport.Deps{API: api, Registry: admin.NewRegistry(), Ready: func(string) error { return nil }, Drain: time.Second, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			l.Handle("/thing", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the thing") }))
			ctx, cancel := context.WithCancel(t.Context())
			served := make(chan error, 1)
			go func() { served <- l.Serve(ctx) }()
			srv := httptest.NewServer(api)
			defer srv.Close()
			get := func(url string) (int, string) {
				t.Helper()
				res, err := http.Get(url)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = res.Body.Close() }()
				b, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				return res.StatusCode, string(b)
			}
			code, text := get(srv.URL + "/thing")
			if own {
				if code != http.StatusNotFound || !strings.Contains(text, "/thing is on the admin listener: "+l.URL()) {
					t.Errorf("on the API's: got %d %s", code, text)
				}
				if code, text := get(l.URL() + "/thing"); code != http.StatusOK || text != "the thing" {
					t.Errorf("got %d %s", code, text)
				}
				if code, text := get(l.URL() + "/metrics"); code != http.StatusOK || !strings.Contains(text, "go_goroutines") {
					t.Errorf("metrics: got %d %s", code, text)
				}
				for _, path := range []string{"/", "/nothing"} {
					if code, text := get(l.URL() + path); code != http.StatusNotFound || !strings.Contains(text, "It serves /metrics, /-/healthy, /-/ready, /debug/pprof/, /thing; ") || !strings.Contains(text, "--listen-address") {
						t.Errorf("%s: got %d %s", path, code, text)
					}
				}
				http.DefaultClient.CloseIdleConnections()
			} else if code != http.StatusOK || text != "the thing" || l.URL() != "" {
				t.Errorf("got %d %s, %q", code, text, l.URL())
			}
			cancel()
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestErrorsNameTheFlag(t *testing.T) {
	for _, c := range []struct{ address, flag, value, want string }{
		{"127.0.0.1:0", "--local.admin.listen-address", "nowhere.invalid:1", "--local.admin.listen-address"},
		{"127.0.0.1:0", "--local.admin.tls-key", "x", "--local.admin.tls-key"},
		{"", "--local.admin.tls-key", "x", "--local.admin.tls-…: need --local.admin.listen-address"},
	} {
		o := adminport.DefaultOptions()
		o.Address = c.address
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		o.RegisterFlags(fs, "local.")
		if err := fs.Set(strings.TrimPrefix(c.flag, "--"), c.value); err != nil {
			t.Fatal(err)
		}
		_, err := adminport.New(o, adminport.Deps{API: http.NewServeMux(), Registry: admin.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%s: got %v", c.flag, c.value, err)
		}
	}
}
