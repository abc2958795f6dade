// SPDX-License-Identifier: Apache-2.0

package promtest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
)

// ReadURL is where the server answers remote read: from its own storage and from what it reads remotely itself.
func (i *Instance) ReadURL() string { return i.URL + "/api/v1/read" }

// Host is host:port, as a scrape target is written.
func (i *Instance) Host() string { return strings.TrimPrefix(i.URL, "http://") }

// Reload replaces the configuration. Prometheus keeps its remote-write queues where they are configured as before.
func (i *Instance) Reload(t testing.TB, config string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(i.Dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	res, err := request(t.Context(), http.MethodPost, i.URL+"/-/reload", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		text, err := io.ReadAll(res.Body)
		t.Fatalf("reload: %s: %s (%v)", res.Status, text, err)
	}
}

// Metric returns the sum of a metric of the server over all its label sets, and whether there is any.
func (i *Instance) Metric(ctx context.Context, name string) (sum float64, found bool, err error) {
	res, err := request(ctx, http.MethodGet, i.URL+"/metrics", "", nil)
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			return 0, false, fmt.Errorf("metric %s: %w", name, err)
		}
		sum, found = sum+v, true
	}
	return sum, found, lines.Err()
}

// Settle reloads the server with a configuration that has its scrape jobs, but no targets and no rules left, and waits until
// it has marked every series as ended and its remote-write queues have sent all of it. (Series of a job that is gone
// altogether are not marked.) It returns what its own storage then has, which no longer changes.
func (i *Instance) Settle(t testing.TB, config string, timeout time.Duration) []*prompb.TimeSeries {
	t.Helper()
	i.Reload(t, config)
	var own []*prompb.TimeSeries
	if err := i.Wait(t.Context(), func() (err error) {
		if own, err = ReadAll(t.Context(), i.ReadURL(), 0, math.MaxInt64); err != nil {
			return err
		}
		for _, s := range own {
			if last := s.Samples[len(s.Samples)-1]; !value.IsStaleNaN(last.Value) {
				return fmt.Errorf("series %s does not end with a staleness marker", key(s))
			}
		}
		return i.drained(t.Context())
	}, timeout); err != nil {
		t.Fatalf("Prometheus did not settle: %v", err)
	}
	return own
}

// drained tells what remote write has not sent yet. Attempts are counted, so those that were repeated are subtracted.
func (i *Instance) drained(ctx context.Context) error {
	const prefix = "prometheus_remote_storage_"
	m := map[string]float64{}
	for _, name := range []string{"samples_in_total", "samples_total", "samples_retried_total", "samples_pending", "samples_failed_total", "samples_dropped_total"} {
		v, found, err := i.Metric(ctx, prefix+name)
		if err != nil {
			return err
		}
		if !found && name != "samples_dropped_total" { // appears with the first drop
			return fmt.Errorf("no metric %s%s", prefix, name)
		}
		m[name] = v
	}
	if sent := m["samples_total"] - m["samples_retried_total"]; sent != m["samples_in_total"] || m["samples_pending"] != 0 {
		return fmt.Errorf("not drained: %v", m)
	}
	return nil
}

// Query asks the HTTP API (path query, query_range, series, …) and returns the answer, decoded. Results that have no order
// come sorted.
func (i *Instance) Query(ctx context.Context, path string, params url.Values) (any, error) {
	res, err := request(ctx, http.MethodPost, i.URL+"/api/v1/"+path, "application/x-www-form-urlencoded", strings.NewReader(params.Encode()))
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	var answer map[string]any
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("%s %s: %s: %w", path, params, res.Status, err)
	}
	if data, ok := answer["data"].(map[string]any); ok && data["resultType"] == "vector" {
		sortByText(data["result"].([]any))
	}
	return answer, nil
}

// sortByText orders what the engine returns in no order of its own.
func sortByText(list []any) {
	text := func(v any) string { return fmt.Sprint(v) } // maps print with sorted keys
	sort.Slice(list, func(a, b int) bool { return text(list[a]) < text(list[b]) })
}
