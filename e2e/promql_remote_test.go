// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/util/teststorage"

	"github.com/tributary-project/tributary/allinone"
	"github.com/tributary-project/tributary/e2e/internal/scripts"
	"github.com/tributary-project/tributary/e2e/internal/system"
)

// beyondRemoteRead are the evaluations that cannot pass over remote read, and why. A Prometheus behind remote read fails the same
// ones: 9 as samples, 16 in chunks.
var beyondRemoteRead = []struct {
	why     string
	samples bool // fails as samples too; all fail in chunks
	evals   []string
}{
	{"the protocol has no start timestamps of samples", true, []string{
		"start_timestamps.test:8: increase(cumulative[5m])",
		"start_timestamps.test:13: rate(cumulative[5m])",
		"start_timestamps.test:18: irate(cumulative[5m])",
		"start_timestamps.test:24: round(increase(cumulative[5m1ms]))",
		"start_timestamps.test:42: resets(cumulative[5m])",
		"start_timestamps.test:66: increase(delta[5m])",
		"start_timestamps.test:74: rate(delta[5m])",
		"start_timestamps.test:82: irate(delta[5m])",
		"start_timestamps.test:114: round(increase(series[1m1ms]))",
	}},
	{"the first histogram of a chunk cannot say that no counter was reset before it", false, []string{
		"native_histograms.test:1747: sum(metric)",
		"native_histograms.test:1752: avg(metric)",
		"native_histograms.test:1821: sum_over_time(mixed[3m])",
		"native_histograms.test:1826: avg_over_time(mixed[3m])",
		"native_histograms.test:1880: histogram_count(sum_over_time(mixed[2m]))",
		"native_histograms.test:1885: histogram_count(avg_over_time(mixed[2m]))",
		"range_queries.test:93: some_metric[2m]",
	}},
}

// TestPromQLScriptsOverRemoteRead runs Prometheus' PromQL scripts over remote write in and remote read out, moved to the recent
// past, and over a Prometheus in the same way. What passes there has to pass here; what fails is listed.
func TestPromQLScriptsOverRemoteRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		types  []prompb.ReadRequest_ResponseType
		passes int // over Prometheus
	}{
		{"samples", []prompb.ReadRequest_ResponseType{prompb.ReadRequest_SAMPLES}, 2174},
		{"chunks", remote.AcceptedResponseTypes, 2167},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			results, ok := scripts.Evaluate(t, []string{""}, func(t *testing.T) {
				t.Run("prometheus", func(t *testing.T) { runScripts(t, prometheusBehindRemoteRead(c.types)) })
				t.Run("tributary", func(t *testing.T) { runScripts(t, tributaryBehindRemoteRead(t, c.types)) })
			})
			if !ok {
				return
			}
			count, err := scripts.Count()
			if err != nil {
				t.Fatal(err)
			}
			listed := map[string]bool{}
			for _, group := range beyondRemoteRead {
				for _, e := range group.evals {
					listed[e] = group.samples || c.name == "chunks"
				}
			}
			if listing := count - c.passes; countTrue(listed) != listing {
				t.Errorf("%d evaluations are listed, want %d", countTrue(listed), listing)
			}
			results["prometheus"].Compare(t, count, listed)
			results["tributary"].Compare(t, count, listed)
		})
	}
}

func countTrue(m map[string]bool) int {
	n := 0
	for _, v := range m {
		if v {
			n++
		}
	}
	return n
}

func runScripts(t *testing.T, open func(testing.TB) storage.Storage) {
	engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	promqltest.RunBuiltinTestsWithStorage(t, engine, open)
}

// behind is a TSDB that is read through something.
type behind struct {
	*teststorage.TestStorage

	read storage.Queryable
}

func (b behind) Querier(mint, maxt int64) (storage.Querier, error) {
	return scripts.Shifted(b.read, 0, mint, maxt)
}

// prometheusBehindRemoteRead opens storages that are Prometheus' own, read through its handler and its client of remote read.
func prometheusBehindRemoteRead(types []prompb.ReadRequest_ResponseType) func(testing.TB) storage.Storage {
	return func(t testing.TB) storage.Storage {
		db := teststorage.New(t)
		handler := remote.NewReadHandler(slog.New(slog.DiscardHandler), nil, db, func() config.Config { return config.DefaultConfig }, 5e7, 10, 1<<20)
		reader, err := scripts.NewReader("http://prometheus.test/api/v1/read", scripts.Handler{Handler: handler}, types...)
		if err != nil {
			t.Fatal(err)
		}
		return &forgetful{behind{db, reader}, reader}
	}
}

// forgetful makes its reader ask again after it was written to.
type forgetful struct {
	behind

	reader *scripts.Reader
}

func (f *forgetful) AppenderV2(ctx context.Context) storage.AppenderV2 {
	f.reader.Forget()
	return f.behind.AppenderV2(ctx)
}

// tributaryBehindRemoteRead opens storages that are tables of one store, each with a gateway of its own.
func tributaryBehindRemoteRead(t testing.TB, types []prompb.ReadRequest_ResponseType) func(testing.TB) storage.Storage {
	next := tables(t, system.Options{})
	moved := time.Now().Truncate(24 * time.Hour).Add(-20 * 24 * time.Hour).Sub(time.Unix(0, 0))
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return func(t testing.TB) storage.Storage {
		app := next(t, func(*allinone.Config) {})
		reader, err := scripts.NewReader(app.URL+"/api/v1/read", transport, types...)
		if err != nil {
			t.Fatal(err)
		}
		return &scripts.Storage{URL: app.URL, Read: reader, Shift: moved, OnWrite: reader.Forget, OnClose: app.Stop}
	}
}

// tables starts a store, and returns a function that starts a Tributary over it with a new table for a default.
func tables(t testing.TB, o system.Options) func(testing.TB, func(*allinone.Config)) *system.App {
	s := system.Start(t, o)
	n := 0
	return func(t testing.TB, change func(*allinone.Config)) *system.App {
		t.Helper()
		n++
		name := fmt.Sprintf("section_%d", n)
		database := allinone.DefaultConfig().Ingest.Database
		if _, err := s.Store.CreateTable(t.Context(), &timestreamwrite.CreateTableInput{DatabaseName: aws.String(database), TableName: aws.String(name), MagneticStoreWriteProperties: &types.MagneticStoreWriteProperties{EnableMagneticStoreWrites: aws.Bool(true)}}); err != nil {
			t.Fatal(err)
		}
		app, err := s.Another(t.Context(), func(c *allinone.Config) {
			c.Ingest.Table = name
			change(c)
		})
		if err != nil {
			t.Fatal(err)
		}
		return app
	}
}
