// SPDX-License-Identifier: Apache-2.0

package tsload

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"

	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/local/wire"
)

// TestSend stores a small fleet by the wire protocol, twice, and some of its samples again: only the first time something is new.
func TestSend(t *testing.T) {
	cfg := local.DefaultConfig()
	cfg.Dir, cfg.DefaultDatabase, cfg.DefaultTable = t.TempDir(), "bench", "fleet"
	db, err := local.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	srv := httptest.NewServer(wire.New(db, wire.Options{}))
	defer srv.Close()
	address := strings.TrimPrefix(srv.URL, "http://")
	f := Fleet{Database: "bench", Table: "fleet", Targets: 11, Start: time.Now().Add(-time.Hour), Step: 15 * time.Second}
	const scrapes = 3
	for again := range 3 {
		if again == 2 {
			var mixed []Sample
			for i := range RecordsPerRequest {
				mixed = append(mixed, Sample{Target: i % f.Targets, Metric: i, Scrape: i % scrapes})
			}
			request, err := Render(t.Context(), address, f.AppendSamples(nil, mixed))
			if err != nil {
				t.Fatal(err)
			}
			report, err := Send(t.Context(), address, 1, func(int) []byte {
				next := request
				request = nil
				return next
			})
			if err != nil || report.Requests != 1 {
				t.Errorf("mixed samples: %+v, %v", report, err)
			}
		} else if report, err := Send(t.Context(), address, 2, f.bodies(t, address, scrapes)); err != nil {
			t.Fatal(err)
		} else if report.Requests != f.Targets*scrapes || len(report.Latencies) != report.Requests {
			t.Errorf("%+v", report)
		}
		out, err := db.Query(t.Context(), &timestreamquery.QueryInput{QueryString: aws.String(`SELECT count(*), count(DISTINCT "instance") FROM bench.fleet`)})
		if err != nil {
			t.Fatal(err)
		}
		got, _ := json.Marshal(out.Rows)
		if want := `"3300"`; !strings.Contains(string(got), want) || !strings.Contains(string(got), `"11"`) {
			t.Errorf("stored %s, want %s records of 11 targets", got, want)
		}
	}
	if _, err := Send(t.Context(), address, 1, func(int) []byte { return []byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n") }); err == nil || !strings.Contains(err.Error(), "answer 400") {
		t.Errorf("a refused request: %v", err)
	}
}

// bodies hands all requests of a fleet to two clients.
func (f Fleet) bodies(t *testing.T, address string, scrapes int) func(int) []byte {
	at := [2]int{0, 1}
	return func(client int) []byte {
		i := at[client]
		at[client] += 2
		if i >= f.Targets*scrapes {
			return nil
		}
		request, err := Render(context.Background(), address, f.AppendBody(nil, i%f.Targets, i/f.Targets))
		if err != nil {
			t.Error(err)
		}
		return request
	}
}

// TestValues: counters never fall, whatever the noise.
func TestValues(t *testing.T) {
	for metric := range 70 {
		for n := range 500 {
			if Value(3, metric, n+1) < Value(3, metric, n) {
				t.Fatalf("metric %d falls after scrape %d", metric, n)
			}
		}
	}
}
