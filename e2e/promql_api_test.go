// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/http"
	"testing"

	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"

	"github.com/tributary-project/tributary/allinone"
	"github.com/tributary-project/tributary/e2e/internal/scripts"
	"github.com/tributary-project/tributary/e2e/internal/system"
)

// beyondAPI are the evaluations that fail through the HTTP API, all for the counter-reset hint of a histogram: Prometheus' storage
// knows one from the sample before, which is not read here because it lies before the range, or is not needed for the value.
var beyondAPI = []string{
	"native_histograms.test:1747: sum(metric)",
	"native_histograms.test:1752: avg(metric)",
	"native_histograms.test:1811: sum(metric{type=~\"counter.*\"})",
	"native_histograms.test:1816: avg(metric{type=~\"counter.*\"})",
	"native_histograms.test:1821: sum_over_time(mixed[3m])",
	"native_histograms.test:1826: avg_over_time(mixed[3m])",
	"native_histograms.test:1880: histogram_count(sum_over_time(mixed[2m]))",
	"native_histograms.test:1885: histogram_count(avg_over_time(mixed[2m]))",
	"range_queries.test:93: some_metric[2m]",
}

// TestPromQLScriptsOverAPI runs Prometheus' PromQL scripts through remote write in and the HTTP API out, at the times that the
// scripts name, which begin in 1970.
func TestPromQLScriptsOverAPI(t *testing.T) {
	t.Parallel()
	results, ok := scripts.Evaluate(t, []string{"^[a-f]", "^[^a-f]"}, func(t *testing.T) {
		next := tables(t, system.Options{Direct: true})
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		t.Run("tributary", func(t *testing.T) {
			promqltest.RunBuiltinTestsWithStorage(t, &scripts.API{Client: &http.Client{Transport: transport}}, func(t testing.TB) storage.Storage {
				app := next(t, allFeatures)
				return &scripts.Storage{URL: app.URL, OnClose: app.Stop}
			})
		})
	})
	if !ok {
		return
	}
	count, err := scripts.Count()
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, e := range beyondAPI {
		listed[e] = true
	}
	results["tributary"].Compare(t, count, listed)
}

// allFeatures switches on what Prometheus' own scripts use.
func allFeatures(c *allinone.Config) {
	c.Query.EnableFeature = "promql-experimental-functions,promql-duration-expr,promql-extended-range-selectors,promql-binop-fill-modifiers,promql-delayed-name-removal,use-start-timestamps"
}
