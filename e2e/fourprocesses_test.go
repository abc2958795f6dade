// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/tributary-project/tributary/e2e/internal/load"
	"github.com/tributary-project/tributary/e2e/internal/proc"
	"github.com/tributary-project/tributary/e2e/internal/promtest"
	"github.com/tributary-project/tributary/e2e/internal/rw"
)

// four is Tributary as it is deployed: four binaries that know each other by address. Each can be killed and started again.
type four struct {
	url     string
	dir     string
	args    map[string][]string
	ready   map[string]string
	running map[string]*proc.Process
}

// Names of the binaries, in the order in which they start.
var binaries = []string{"timestream-local", "ingest", "query", "gateway"}

func startFour(t *testing.T) *four {
	t.Helper()
	a := make([]string, 7)
	for i := range a {
		a[i] = promtest.FreeAddress(t)
	}
	dir := t.TempDir()
	store := []string{"--timestream.endpoint=http://" + a[0], "--timestream.local-credentials"}
	f := &four{
		url: "http://" + a[1], dir: dir, running: map[string]*proc.Process{},
		args: map[string][]string{
			"timestream-local": {"--listen-address=" + a[0], "--admin.listen-address=", "--data-dir=" + filepath.Join(dir, "data")},
			"ingest":           append([]string{"--grpc.listen-address=" + a[2], "--web.listen-address=" + a[3]}, store...),
			"query":            append([]string{"--grpc.listen-address=" + a[4], "--web.listen-address=" + a[5]}, store...),
			"gateway":          {"--web.listen-address=" + a[1], "--grpc.listen-address=" + a[6], "--ingest.address=" + a[2], "--query.address=" + a[4]},
		},
		ready: map[string]string{"timestream-local": a[0], "ingest": a[3], "query": a[5], "gateway": a[1]},
	}
	t.Cleanup(func() {
		for _, p := range f.running {
			p.Kill()
		}
	})
	for _, name := range binaries {
		f.start(t, name)
	}
	return f
}

func (f *four) start(t *testing.T, name string) {
	t.Helper()
	binary, err := proc.Binary(name)
	if err != nil {
		t.Fatal(err)
	}
	p, err := proc.Start(t.Context(), name, f.dir, binary, "http://"+f.ready[name]+"/-/ready", f.args[name]...)
	if err != nil {
		t.Fatal(err)
	}
	f.running[name] = p
}

func (f *four) kill(name string) {
	f.running[name].Kill()
	delete(f.running, name)
}

// stop ends all, front to back, as an orderly shutdown does.
func (f *four) stop(t *testing.T) {
	t.Helper()
	for i := len(binaries) - 1; i >= 0; i-- {
		if err := f.running[binaries[i]].Stop(); err != nil {
			t.Error(err)
		}
		delete(f.running, binaries[i])
	}
}

// until polls until check succeeds.
func until(t testing.TB, timeout time.Duration, check func() error) {
	t.Helper()
	deadline := time.After(timeout)
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("after %s: %v", timeout, err)
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func get(ctx context.Context, url string) (rw.Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return rw.Answer{}, err
	}
	return rw.Do(req)
}

// checkReady returns an error unless the gateway says this of itself and its roles.
func (f *four) checkReady(ctx context.Context, all, ingest, query int) error {
	for _, c := range []struct {
		path string
		want int
	}{{"", all}, {"?role=ingest", ingest}, {"?role=query", query}} {
		answer, err := get(ctx, f.url+"/-/ready"+c.path)
		if err != nil {
			return err
		}
		if answer.Status != c.want {
			return fmt.Errorf("/-/ready%s is %d, want %d: %s", c.path, answer.Status, c.want, answer.Text)
		}
	}
	return nil
}

// write writes one sample and returns an error unless the answer is as wanted: 204, or 503 and well formed.
func (f *four) write(ctx context.Context, want int) error {
	answer, err := rw.Write(ctx, f.url+"/api/v1/write", rw.V2, rw.New("__name__", "probe", "job", "four").At(time.Now().UnixMilli(), 1))
	if err != nil {
		return err
	}
	if answer.Status != want {
		return fmt.Errorf("write is answered %d %s, want %d", answer.Status, answer.Text, want)
	}
	if want == http.StatusServiceUnavailable {
		return checkDeferred(answer)
	}
	return nil
}

// checkDeferred returns an error unless the answer tells the sender of a 2.0 request to try again, and that nothing counts yet.
func checkDeferred(a rw.Answer) error {
	if a.Status != http.StatusServiceUnavailable {
		return fmt.Errorf("answered %d %s, want 503", a.Status, a.Text)
	}
	if after, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || after < 1 || after > 5 {
		return fmt.Errorf("Retry-After is %q, want 1 to 5", a.Header.Get("Retry-After"))
	}
	if a.Written() != "0 0 0" {
		return fmt.Errorf("a deferred request says that %s were written", a.Written())
	}
	if a.Text == "" {
		return fmt.Errorf("a deferred request has no reason")
	}
	return nil
}

// TestFourProcesses runs the real binaries under load and a real Prometheus, kills each of those behind the gateway in
// turn, and finds every sample that was acknowledged.
func TestFourProcesses(t *testing.T) {
	t.Parallel()
	f := startFour(t)
	ctx := t.Context()
	if err := f.checkReady(ctx, 200, 200, 200); err != nil {
		t.Fatal(err)
	}
	write := remoteWrite(f.url+"/api/v1/write", messageV2)
	prometheus := promtest.Start(t, write, nil)
	target := newTarget(t)
	prometheus.Reload(t, scrape(write, map[string]string{"target": target.Host}))

	sending, stopSending := context.WithCancel(ctx)
	defer stopSending()
	type result struct {
		report *load.Report
		err    error
	}
	loaded := make(chan result, 1)
	go func() {
		report, err := load.Run(sending, load.Config{
			URL: f.url + "/api/v1/write", Protocol: load.V2, Set: load.NewSet(500, "four"), SamplesPerRequest: 250,
			Senders: 2, Duration: 5 * time.Minute, Rate: 2000, RetryFor: 30 * time.Second,
		})
		loaded <- result{report, err}
	}()

	// Reads going down do not take writes with them.
	f.kill("query")
	until(t, 2*time.Minute, func() error { return f.checkReady(ctx, 200, 200, 503) })
	if err := f.write(ctx, 204); err != nil {
		t.Error(err)
	}
	if _, err := promtest.ReadAll(ctx, f.url+"/api/v1/read", 0, time.Now().UnixMilli()); err == nil {
		t.Error("a read succeeds without a query service")
	}
	f.start(t, "query")
	until(t, 2*time.Minute, func() error { return f.checkReady(ctx, 200, 200, 200) })

	// Neither do writes take reads with them.
	f.kill("ingest")
	until(t, 2*time.Minute, func() error { return f.checkReady(ctx, 200, 503, 200) })
	if err := f.write(ctx, 503); err != nil {
		t.Error(err)
	}
	if _, err := promtest.ReadAll(ctx, f.url+"/api/v1/read", 0, time.Now().UnixMilli()); err != nil {
		t.Error(err)
	}
	f.start(t, "ingest")
	until(t, 2*time.Minute, func() error { return f.checkReady(ctx, 200, 200, 200) })
	until(t, 2*time.Minute, func() error { return f.write(ctx, 204) })

	// The store dies while requests are on their way, twice, and what was acknowledged is still there.
	for range 2 {
		scraped := target.scrapes.Load()
		until(t, 2*time.Minute, func() error { return target.Scraped(scraped + 2) })
		f.kill("timestream-local")
		if err := f.write(ctx, 503); err != nil {
			t.Error(err)
		}
		f.start(t, "timestream-local")
		until(t, 2*time.Minute, func() error { return f.write(ctx, 204) })
	}

	stopSending()
	own := prometheus.Settle(t, idle(write, "target"), 3*time.Minute)
	got, err := promtest.Read(ctx, f.url+"/api/v1/read", everything(own))
	if err != nil {
		t.Fatal(err)
	}
	ours := got[0].Timeseries[:0]
	for _, s := range got[0].Timeseries { // not the load's
		for _, l := range s.Labels {
			if l.Name == "job" && l.Value == "target" {
				ours = append(ours, s)
			}
		}
	}
	if c := promtest.Compare(own, ours); !c.OK() || c.Equal == 0 {
		t.Errorf("what Prometheus wrote: %v", c)
	}
	r := <-loaded
	if r.err != nil {
		t.Fatal(r.err)
	}
	if r.report.Acknowledged == 0 || r.report.Attempts <= len(r.report.Ledger.Requests) || r.report.Rejected+r.report.WrongCounts > 0 {
		t.Errorf("load: %d acknowledged in %d attempts, %d rejected (%s), %d with wrong counts", r.report.Acknowledged, r.report.Attempts, r.report.Rejected, r.report.FirstRejection, r.report.WrongCounts)
	}
	v, err := r.report.Ledger.Verify(ctx, http.DefaultClient, f.url+"/api/v1/read", 10*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if !v.OK() || v.Found == 0 {
		t.Errorf("load: %d of %d found, %d missing, %d different, %d foreign, %d repeated: %v", v.Found, v.Acknowledged, v.Missing, v.Different, v.Foreign, v.Repeated, v.Examples)
	}
	prometheus.Stop(t)
	f.stop(t)
}
