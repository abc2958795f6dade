// SPDX-License-Identifier: Apache-2.0

package query

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
	"github.com/tributary-project/tributary/timestream/client"

	"github.com/tributary-project/tributary/services/query/internal/querytest"
)

// rendered answers like a table of nSeries × nSamples whose pages were made before.
type rendered struct{ pages []string }

func render(nSeries, nSamples int) *rendered {
	const head = `{"ColumnInfo":[],"QueryId":"Q","QueryStatus":{"CumulativeBytesMetered":1},"Rows":[`
	r := &rendered{}
	var b strings.Builder
	start := time.Unix(1_700_000_000, 0).UTC()
	page := func(last bool) {
		next := ""
		if !last {
			next = fmt.Sprintf(`,"NextToken":"%d"`, len(r.pages)+1)
		}
		r.pages = append(r.pages, head+b.String()+"]"+next+"}")
		b.Reset()
	}
	for i := range nSeries {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"Data":[{"ScalarValue":"eu-west-1"},{"ScalarValue":"host-%04d:9100"},{"ScalarValue":"node"},{"ScalarValue":"production"},{"NullValue":true},{"NullValue":true},{"NullValue":true},{"NullValue":true},{"TimeSeriesValue":[`, i)
		for j := range nSamples {
			if j > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"Time":"%s","Value":{"ScalarValue":"%.3f"}}`, start.Add(time.Duration(j)*15*time.Second).Format("2006-01-02 15:04:05.000000000"), float64(i)+float64(j)*1.25)
		}
		b.WriteString("]}]}")
		if b.Len() > 1<<20-32<<10 {
			page(i == nSeries-1)
		}
	}
	if b.Len() > 0 || len(r.pages) == 0 {
		page(true)
	}
	return r
}

func (r *rendered) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	text := string(body)
	switch {
	case strings.Contains(text, "DESCRIBE"):
		cell := func(s ...string) string {
			return `{"Data":[{"ScalarValue":"` + strings.Join(s, `"},{"ScalarValue":"`) + `"}]}`
		}
		var rows []string
		for _, d := range []string{"cluster", "instance", "job", "namespace", "zz1", "zz2", "zz3", "zz4"} {
			rows = append(rows, cell(d, "varchar", "DIMENSION"))
		}
		rows = append(rows, cell("measure_value::double", "double", "MEASURE_VALUE"))
		_, _ = io.WriteString(w, `{"QueryId":"D","ColumnInfo":[],"Rows":[`+strings.Join(rows, ",")+`]}`)
	case strings.Contains(text, "SHOW"):
		_, _ = io.WriteString(w, `{"QueryId":"S","ColumnInfo":[],"Rows":[]}`)
	default:
		page := 0
		if _, after, ok := strings.Cut(text, `"NextToken":"`); ok {
			fmt.Sscanf(after, "%d", &page) //nolint:errcheck // its own token
		}
		_, _ = io.WriteString(w, r.pages[page])
	}
}

// sink takes a stream of answers.
type sink struct {
	grpc.ServerStreamingServer[queryv1.ReadResponse]
	ctx     context.Context
	samples uint64
}

func (s *sink) Context() context.Context     { return s.ctx }
func (s *sink) SetHeader(metadata.MD) error  { return nil }
func (s *sink) SendHeader(metadata.MD) error { return nil }
func (s *sink) Send(m *queryv1.ReadResponse) error {
	if t := m.GetTrailer(); t != nil {
		s.samples = t.GetStats().GetSamples()
	}
	return nil
}

// BenchmarkRead is a whole read, from HTTP pages through the AWS SDK to serialised series or frames of chunks. The server is in the same
// process, and what it costs is in the figures; its pages are ready.
func BenchmarkRead(b *testing.B) {
	const asSamples, asChunks = queryv1.ResponseType_RESPONSE_TYPE_SAMPLES, queryv1.ResponseType_RESPONSE_TYPE_STREAMED_XOR_CHUNKS
	for _, bb := range []struct {
		size [2]int
		as   queryv1.ResponseType
	}{{[2]int{1000, 240}, asSamples}, {[2]int{5000, 240}, asSamples}, {[2]int{1000, 240}, asChunks}, {[2]int{5000, 240}, asChunks}} {
		size := bb.size
		b.Run(fmt.Sprintf("%dx%d/%s", size[0], size[1], strings.ToLower(strings.TrimPrefix(bb.as.String(), "RESPONSE_TYPE_"))), func(b *testing.B) {
			cfg := DefaultConfig()
			cfg.ListenAddress, cfg.GRPC.ListenAddress = "", ""
			s, err := New(cfg, Deps{Timestream: client.NewQuerier(querytest.Client(b, render(size[0], size[1]))), Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()})
			if err != nil {
				b.Fatal(err)
			}
			req := &queryv1.ReadRequest{Matchers: []*queryv1.LabelMatcher{nameIs("up")}, StartMs: 0, EndMs: math.MaxInt64, ResponseType: bb.as}
			samples := uint64(size[0] * size[1])
			b.ReportAllocs()
			began := cpuSeconds(b)
			for b.Loop() {
				out := &sink{ctx: b.Context()}
				if err := s.Read(req, out); err != nil || out.samples != samples {
					b.Fatalf("%d samples, %v", out.samples, err)
				}
			}
			b.ReportMetric(float64(b.N)*float64(samples)/(cpuSeconds(b)-began), "samples/CPU-s")
		})
	}
}

// cpuSeconds is what the process has used.
func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
