// SPDX-License-Identifier: Apache-2.0

// Package promtest starts real Prometheus servers for tests and reads their storage back. The binary is built by
// `make bin/prometheus` from Prometheus' own module.
package promtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/e2e/internal/remoteread"
)

// BinaryVariable names the environment variable that says where the Prometheus binary is; unset, it is bin/prometheus
// of this repository.
const BinaryVariable = "TRIBUTARY_PROMETHEUS"

// Instance is a running Prometheus.
type Instance struct {
	// URL is its base URL.
	URL string
	// Dir holds its configuration, log and data.
	Dir string

	cmd  *exec.Cmd
	done chan struct{}
}

// Binary returns the path of the Prometheus binary; a test without one fails, it does not skip.
func Binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv(BinaryVariable)
	if path == "" {
		for dir, _ := os.Getwd(); ; dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
				path = filepath.Join(dir, "bin", "prometheus")
				break
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("no Prometheus binary: run `make bin/prometheus` or set %s: %v", BinaryVariable, err)
	}
	return path
}

// FreeAddress returns an address of the loopback interface that nothing listens on. It is one that nobody else asks ports of, so
// that the port is not given to others before the process that it is for has it, or while that is started again.
func FreeAddress(t testing.TB) string {
	t.Helper()
	listen := new(net.ListenConfig).Listen
	ln, err := listen(t.Context(), "tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254)))
	if err != nil { // this system has one loopback address only
		ln, err = listen(t.Context(), "tcp", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// Start starts a Prometheus with the configuration and further files (name to content) in its directory, and waits
// until it is ready. The test's cleanup stops it.
func Start(t testing.TB, config string, files map[string]string, args ...string) *Instance {
	t.Helper()
	dir := t.TempDir()
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("prometheus.yml", config)
	for name, content := range files {
		write(name, content)
	}
	address := FreeAddress(t)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	args = append([]string{
		"--config.file=" + filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path=" + filepath.Join(dir, "data"),
		"--web.listen-address=" + address,
		"--web.enable-lifecycle",
		// How long a change of the targets may take to be seen; hidden, and 5s otherwise.
		"--scrape.discovery-reload-interval=100ms",
	}, args...)
	// It ends by Stop, which lets it send what it has scraped, and not by a context.
	cmd := exec.Command(Binary(t), args...) //nolint:noctx // see above
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	i := &Instance{URL: "http://" + address, Dir: dir, cmd: cmd, done: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(i.done) }()
	t.Cleanup(func() {
		i.Stop(t)
		if t.Failed() {
			if text, err := os.ReadFile(log.Name()); err == nil {
				t.Logf("log of Prometheus at %s:\n%s", address, tail(text, 8<<10))
			}
		}
	})
	if err := i.Wait(t.Context(), func() error { return getOK(t.Context(), i.URL+"/-/ready") }, 3*time.Minute); err != nil {
		t.Fatalf("Prometheus did not get ready: %v", err)
	}
	return i
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

func getOK(ctx context.Context, url string) error {
	res, err := request(ctx, http.MethodGet, url, "", nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, res.Status)
	}
	return nil
}

// request sends a request that is answered within a few seconds unless something is wrong.
func request(ctx context.Context, method, url, contentType string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return (&http.Client{Timeout: time.Minute}).Do(req)
}

// Wait polls until check succeeds, the process ends, or the time is over.
func (i *Instance) Wait(ctx context.Context, check func() error, timeout time.Duration) error {
	deadline := time.After(timeout)
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-i.done:
			return errors.New("the process ended; see its log")
		case <-deadline:
			return fmt.Errorf("after %s: %w", timeout, err)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Stop asks the process to end, as SIGTERM does, and waits for it: what it has scraped is sent first, as far as the
// receiver takes it.
func (i *Instance) Stop(t testing.TB) {
	t.Helper()
	select {
	case <-i.done:
		return
	default:
	}
	_ = i.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-i.done:
	case <-time.After(2 * time.Minute):
		_ = i.cmd.Process.Kill()
		<-i.done
		t.Errorf("Prometheus at %s did not end within two minutes of SIGTERM", i.URL)
	}
}

// ReadAll reads every float sample that a server of the remote read protocol has in [startMs, endMs] and matches, as
// samples, so with all their bits. Series come sorted by labels.
func ReadAll(ctx context.Context, url string, startMs, endMs int64, matchers ...*prompb.LabelMatcher) ([]*prompb.TimeSeries, error) {
	if len(matchers) == 0 {
		matchers = []*prompb.LabelMatcher{{Type: prompb.LabelMatcher_RE, Name: "__name__", Value: ".+"}}
	}
	res, err := Read(ctx, url, &prompb.Query{StartTimestampMs: startMs, EndTimestampMs: endMs, Matchers: matchers})
	if err != nil {
		return nil, err
	}
	series := res[0].Timeseries
	sort.Slice(series, func(a, b int) bool { return key(series[a]) < key(series[b]) })
	return series, nil
}

func key(s *prompb.TimeSeries) string {
	var b bytes.Buffer
	for _, l := range s.Labels {
		fmt.Fprintf(&b, "%q=%q,", l.Name, l.Value)
	}
	return b.String()
}

// Read sends one remote read request with the queries, asking for samples, and returns their results.
func Read(ctx context.Context, url string, queries ...*prompb.Query) ([]*prompb.QueryResult, error) {
	return remoteread.Read(ctx, &http.Client{Timeout: 3 * time.Minute}, url, queries...)
}
