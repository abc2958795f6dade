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
	results["tributary"].Compare(t, count, nil)
}

// allFeatures switches on what Prometheus' own scripts use.
func allFeatures(c *allinone.Config) {
	c.Query.EnableFeature = "promql-experimental-functions,promql-duration-expr,promql-extended-range-selectors,promql-binop-fill-modifiers,promql-delayed-name-removal,use-start-timestamps"
}
