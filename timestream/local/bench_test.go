// SPDX-License-Identifier: Apache-2.0

package local_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/local/wire"
)

const (
	benchClients = 8
	benchBatch   = 100
	// benchSeries is the number of series of one client.
	benchSeries = 2000
)

// benchInput is the n-th request of a client: 100 series at one moment, what they share hoisted, as ingest sends them.
func benchInput(client, n int, start time.Time) *timestreamwrite.WriteRecordsInput {
	round, batch := n/(benchSeries/benchBatch), n%(benchSeries/benchBatch)
	in := &timestreamwrite.WriteRecordsInput{
		DatabaseName: aws.String(database), TableName: aws.String(table),
		CommonAttributes: &wtypes.Record{
			MeasureName: aws.String("http_requests_" + strconv.Itoa(batch) + "_total"),
			Time:        aws.String(strconv.FormatInt(start.Add(time.Duration(round)*time.Second).UnixMilli(), 10)),
			Dimensions: []wtypes.Dimension{
				{Name: aws.String("job"), Value: aws.String("api-server")},
				{Name: aws.String("instance"), Value: aws.String(fmt.Sprintf("10.0.%d.17:8080", client))},
				{Name: aws.String("namespace"), Value: aws.String("production")},
				{Name: aws.String("cluster"), Value: aws.String("eu-west-1-blue")},
			},
		},
	}
	for i := range benchBatch {
		in.Records = append(in.Records, wtypes.Record{
			MeasureValue: aws.String(strconv.FormatFloat(float64(n*benchBatch+i)*1.25, 'f', -1, 64)),
			Dimensions: []wtypes.Dimension{
				{Name: aws.String("handler"), Value: aws.String("/api/v1/resource/" + strconv.Itoa(i))},
				{Name: aws.String("code"), Value: aws.String("200")},
				{Name: aws.String("pod"), Value: aws.String("api-7c9d8f6b5-x" + strconv.Itoa(i))},
			},
		})
	}
	return in
}

func benchOpen(b *testing.B) *local.DB {
	b.Helper()
	cfg := local.DefaultConfig()
	cfg.Dir = b.TempDir()
	cfg.DefaultDatabase, cfg.DefaultTable = database, table
	db, err := local.Open(context.Background(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	return db
}

// runClients lets the clients send b.N requests in all.
func runClients(b *testing.B, send func(client, n int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for c := range benchClients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := 0; next.Add(1) <= int64(b.N); n++ {
				send(c, n)
			}
		}()
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)*benchBatch/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkWriteRecordsDirect(b *testing.B) {
	db := benchOpen(b)
	start := time.Now().Add(-time.Hour)
	runClients(b, func(c, n int) {
		if _, err := db.WriteRecords(context.Background(), benchInput(c, n, start)); err != nil {
			b.Error(err)
		}
	})
}

// benchBodies are the JSON bodies that the SDK sends for a client's requests, made before the clock runs.
func benchBody(c, n int, start time.Time) string {
	in := benchInput(c, n, start)
	var s strings.Builder
	dims := func(d []wtypes.Dimension) {
		s.WriteString(`"Dimensions":[`)
		for i := range d {
			if i > 0 {
				s.WriteByte(',')
			}
			fmt.Fprintf(&s, `{"Name":"%s","Value":"%s"}`, *d[i].Name, *d[i].Value)
		}
		s.WriteByte(']')
	}
	s.WriteString(`{"CommonAttributes":{`)
	dims(in.CommonAttributes.Dimensions)
	fmt.Fprintf(&s, `,"MeasureName":"%s","Time":"%s"},"DatabaseName":"%s","Records":[`, *in.CommonAttributes.MeasureName, *in.CommonAttributes.Time, database)
	for i, r := range in.Records {
		if i > 0 {
			s.WriteByte(',')
		}
		s.WriteByte('{')
		dims(r.Dimensions)
		fmt.Fprintf(&s, `,"MeasureValue":"%s"}`, *r.MeasureValue)
	}
	fmt.Fprintf(&s, `],"TableName":"%s"}`, table)
	return s.String()
}

// BenchmarkWriteRecordsWire sends ready-made bodies over HTTP, so that the client's share of the work is small.
func BenchmarkWriteRecordsWire(b *testing.B) {
	db := benchOpen(b)
	srv := httptest.NewServer(wire.New(db, wire.Options{}))
	b.Cleanup(srv.Close)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: benchClients}}
	b.Cleanup(client.CloseIdleConnections)
	start := time.Now().Add(-time.Hour)
	runClients(b, func(c, n int) {
		req, _ := http.NewRequest(http.MethodPost, srv.URL, strings.NewReader(benchBody(c, n, start)))
		req.Header.Set("X-Amz-Target", "Timestream_20181101.WriteRecords")
		res, err := client.Do(req)
		if err != nil {
			b.Error(err)
			return
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			b.Errorf("status %d", res.StatusCode)
		}
	})
}

// BenchmarkWriteRecordsHandler leaves the network out: the handler alone, JSON included.
func BenchmarkWriteRecordsHandler(b *testing.B) {
	db := benchOpen(b)
	h := wire.New(db, wire.Options{})
	start := time.Now().Add(-time.Hour)
	runClients(b, func(c, n int) {
		req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(benchBody(c, n, start)))
		req.Header.Set("X-Amz-Target", "Timestream_20181101.WriteRecords")
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		if rec.Code != http.StatusOK {
			b.Errorf("status %d: %s", rec.Code, rec.Body)
		}
	})
}

// BenchmarkQuerySeries reads series as the query service does: grouped on the server, one row per series and bin.
func BenchmarkQuerySeries(b *testing.B) {
	db := benchOpen(b)
	start := time.Now().Add(-time.Hour).Truncate(time.Second)
	const rounds = 240
	var wg sync.WaitGroup
	for c := range benchClients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := range rounds * benchSeries / benchBatch {
				if _, err := db.WriteRecords(context.Background(), benchInput(c, n, start)); err != nil {
					b.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	queries := []struct{ name, sql string }{
		{"one_metric", `SELECT "job", "instance", "handler", "code", "pod", "namespace", "cluster", CREATE_TIME_SERIES(time, measure_value::double) AS s FROM "` + database + `"."` + table +
			`" WHERE measure_name = 'http_requests_3_total' AND measure_value::double IS NOT NULL GROUP BY "job", "instance", "handler", "code", "pod", "namespace", "cluster", bin(time, 2h)`},
		{"one_series", `SELECT "job", "instance", "handler", CREATE_TIME_SERIES(time, measure_value::double) AS s FROM "` + database + `"."` + table +
			`" WHERE measure_name = 'http_requests_3_total' AND "handler" = '/api/v1/resource/7' AND "instance" = '10.0.1.17:8080' AND measure_value::double IS NOT NULL GROUP BY "job", "instance", "handler", bin(time, 2h)`},
		{"count", `SELECT count() FROM "` + database + `"."` + table + `"`},
	}
	for _, q := range queries {
		b.Run(q.name, func(b *testing.B) {
			b.ReportAllocs()
			rows, bytes := 0, 0
			for range b.N {
				in := &timestreamquery.QueryInput{QueryString: aws.String(q.sql)}
				for {
					p, err := db.QueryPage(context.Background(), in)
					if err != nil {
						b.Fatal(err)
					}
					bytes += len(p.Rows)
					rows++
					if p.NextToken == "" {
						break
					}
					in.NextToken = &p.NextToken
				}
			}
			b.SetBytes(int64(bytes / b.N))
		})
	}
}
