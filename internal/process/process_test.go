// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/tributary-project/tributary/internal/process"
)

// mainEnv makes the test binary a process whose main does what its value says.
const mainEnv = "PROCESS_TEST_MAIN"

func TestMain(m *testing.M) {
	if what := os.Getenv(mainEnv); what != "" {
		os.Exit(process.Main(func(ctx context.Context, _ []string, stdout, _ io.Writer) error {
			switch what {
			case "help":
				return fmt.Errorf("x: %w", flag.ErrHelp)
			case "usage":
				return process.UsageError{Err: errors.New("wrong flag")}
			case "error":
				return errors.New("no such thing")
			case "wait", "hang":
				_, _ = fmt.Fprintln(stdout, "up")
				<-ctx.Done()
				_, _ = fmt.Fprintln(stdout, "down")
				if what == "hang" {
					select {}
				}
			}
			return nil
		}))
	}
	goleak.VerifyTestMain(m)
}

func TestMainExitCodes(t *testing.T) {
	for _, tt := range []struct {
		give       string
		want       int
		wantStderr string
	}{
		{"success", 0, ""},
		{"help", 0, ""},
		{"usage", 2, "error: wrong flag\n"},
		{"error", 1, "error: no such thing\n"},
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), mainEnv+"="+tt.give)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		if got := cmd.ProcessState.ExitCode(); got != tt.want || stderr.String() != tt.wantStderr {
			t.Errorf("%s: got %d %q, want %d %q", tt.give, got, stderr.String(), tt.want, tt.wantStderr)
		}
	}
}

// TestMainSignals: the first signal ends the context; after it, signals kill the process.
func TestMainSignals(t *testing.T) {
	for _, what := range []string{"wait", "hang"} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // then the process is killed
		defer cancel()
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), mainEnv+"="+what)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for _, want := range []string{"up", "down"} {
			if !lines.Scan() || lines.Text() != want {
				t.Fatalf("%s: got %q, want %q", what, lines.Text(), want)
			}
			if want == "up" {
				if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
			}
		}
		ended := make(chan struct{})
		var waitErr error // to be read once ended is closed
		go func() {
			defer close(ended)
			_ = lines.Scan() // false when the process has ended
			waitErr = cmd.Wait()
		}()
		if what == "wait" {
			if <-ended; waitErr != nil {
				t.Errorf("%s: got %v, want a clean end", what, waitErr)
			}
			continue
		}
		for again := true; again; {
			select {
			case <-ended:
				again = false
			case <-time.After(10 * time.Millisecond): // the default action comes back a moment after the first signal
				_ = cmd.Process.Signal(syscall.SIGTERM)
			}
		}
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGTERM {
			t.Errorf("%s: got %v, want the end by SIGTERM", what, cmd.ProcessState)
		}
	}
}

func TestRun(t *testing.T) {
	failure := errors.New("failure")
	untilEnd := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	done := func(context.Context) error { return nil }
	fails := func(context.Context) error { return failure }
	for _, tt := range []struct {
		name   string
		give   []process.Actor
		cancel bool
		want   error
	}{
		{"nobody", nil, false, nil},
		{"a failure ends the others", []process.Actor{untilEnd, fails, untilEnd}, false, failure},
		{"who is done stops nobody", []process.Actor{done, fails}, false, failure},
		{"the end of the context is no failure", []process.Actor{untilEnd, done}, true, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tt.cancel {
				cancel()
			}
			if err := process.Run(ctx, tt.give...); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// serve runs an HTTP server until the returned function is called, which returns what Serve returned.
func serve(t *testing.T, h http.HandlerFunc, drain time.Duration) (s *process.HTTPServer, stop func() error) {
	t.Helper()
	s, err := process.NewHTTPServer("web.listen-address", "127.0.0.1:0", nil, h, drain, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(cancel)
	return s, func() error { cancel(); return <-done }
}

func get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return string(body), err
}

// TestHTTPDrain: a request in flight ends, within the drain time.
func TestHTTPDrain(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s, stop := serve(t, func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "answer")
	}, time.Hour)
	type result struct {
		body string
		err  error
	}
	got := make(chan result, 1)
	go func() {
		body, err := get(context.Background(), s.URL())
		got <- result{body, err}
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for { // until the listener is closed
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Addr().String())
		if err != nil {
			break
		}
		_ = c.Close()
	}
	select {
	case err := <-stopped:
		t.Fatalf("Serve returned %v with a request in flight", err)
	default:
	}
	close(release)
	if r := <-got; r.err != nil || r.body != "answer" {
		t.Errorf("got %q %v", r.body, r.err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestHTTPDrainTimeout(t *testing.T) {
	entered, ended := make(chan struct{}), make(chan struct{})
	s, stop := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		close(ended)
	}, 20*time.Millisecond)
	cut := make(chan error, 1)
	go func() {
		_, err := get(context.Background(), s.URL())
		cut <- err
	}()
	<-entered
	if err := stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := <-cut; err == nil {
		t.Error("the request was answered, want it cut")
	}
	<-ended
}

func TestHTTPAddress(t *testing.T) {
	s, err := process.NewHTTPServer("web.listen-address", ":0", nil, http.NotFoundHandler(), 0, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if want := "http://localhost:" + port; s.URL() != want {
		t.Errorf("got %s, want %s", s.URL(), want)
	}
	_, err = process.NewHTTPServer("web.listen-address", s.Addr().String(), nil, http.NotFoundHandler(), 0, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "--web.listen-address=") {
		t.Errorf("taken address: got %v, want an error that names the flag", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestHealthcheck(t *testing.T) {
	h := http.NewServeMux()
	h.HandleFunc("/ok", func(http.ResponseWriter, *http.Request) {})
	h.HandleFunc("/sick", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "ingest is away", http.StatusServiceUnavailable)
	})
	h.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	plain, secure := httptest.NewServer(h), httptest.NewTLSServer(h)
	defer plain.Close()
	defer secure.Close()
	for _, tt := range []struct {
		name      string
		args      []string
		want      string // empty: success
		wantUsage bool
	}{
		{"default", nil, "", false},
		{"TLS, unverified", []string{"--url=" + secure.URL + "/ok"}, "", false},
		{"sick", []string{"--url=" + plain.URL + "/sick"}, "ingest is away", false},
		{"slow", []string{"--url=" + plain.URL + "/slow", "--timeout=50ms"}, "deadline", false},
		{"away", []string{"--url=http://127.0.0.1:1/"}, "127.0.0.1:1", false},
		{"no URL", []string{"--url=:"}, "missing protocol", true},
		{"unknown flag", []string{"--nonsense"}, "nonsense", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := process.Healthcheck(t.Context(), append([]string{"--url=" + plain.URL + "/ok"}, tt.args...), process.Listener{Flag: "web.listen-address"}, io.Discard)
			var usage process.UsageError
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("got %v, want success", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || errors.As(err, &usage) != tt.wantUsage):
				t.Errorf("got %v, want %q, usage %t", err, tt.want, tt.wantUsage)
			}
		})
	}
}

// TestHealthcheckFollowsTheListener: the environment that moves the listener, or gives it TLS, moves the check.
func TestHealthcheckFollowsTheListener(t *testing.T) {
	h := http.NewServeMux()
	h.HandleFunc("/-/healthy", func(http.ResponseWriter, *http.Request) {})
	plain, secure := httptest.NewServer(h), httptest.NewUnstartedServer(h)
	secure.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	secure.StartTLS()
	defer plain.Close()
	defer secure.Close()
	cert, key := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	der, err := x509.MarshalPKCS8PrivateKey(secure.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: secure.Certificate().Raw},
		key:  {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	port := func(s *httptest.Server) string {
		_, p, err := net.SplitHostPort(s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, tt := range []struct {
		name string
		args []string
		env  map[string]string
		want string // empty: success
	}{
		{"default", nil, nil, "127.0.0.1:1/-/healthy"},
		{"moved", nil, map[string]string{"T_WEB_LISTEN_ADDRESS": ":" + port(plain)}, ""},
		{"all addresses", nil, map[string]string{"T_WEB_LISTEN_ADDRESS": "0.0.0.0:" + port(plain)}, ""},
		{"moved by flag", []string{"--web.listen-address=" + plain.Listener.Addr().String()}, nil, ""},
		{"TLS with client certificates", nil, map[string]string{"T_WEB_LISTEN_ADDRESS": ":" + port(secure), "T_TLS_CERTIFICATE": cert, "T_TLS_KEY": key, "T_TLS_CLIENT_CA": cert}, ""},
		{"TLS it does not know of", nil, map[string]string{"T_WEB_LISTEN_ADDRESS": ":" + port(secure)}, "400"},
		{"no address", nil, map[string]string{"T_WEB_LISTEN_ADDRESS": "9201"}, "--web.listen-address=9201"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			err := process.Healthcheck(t.Context(), tt.args, process.Listener{Flag: "web.listen-address", EnvPrefix: "T", Address: "127.0.0.1:1"}, io.Discard)
			if (tt.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestBuild(t *testing.T) {
	b := process.ReadBuild("1.2.3")
	if b.Version != "1.2.3" || !strings.HasPrefix(b.GoVersion, "go") {
		t.Errorf("got %+v", b)
	}
	reg := prometheus.NewRegistry()
	b.Register(reg, "thing")
	families, err := reg.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "thing_build_info" || families[0].GetMetric()[0].GetGauge().GetValue() != 1 {
		t.Errorf("got %v %v", families, err)
	}
}
