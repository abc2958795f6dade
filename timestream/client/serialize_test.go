// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
)

// TestBodiesAreTheSDKs sends the same requests by the SDK as it comes and by ours: target, content type and body are equal
// to the byte.
func TestBodiesAreTheSDKs(t *testing.T) {
	type seen struct{ method, path, target, contentType, body string }
	var last seen
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		last = seen{r.Method, r.URL.Path, r.Header.Get("X-Amz-Target"), r.Header.Get("Content-Type"), string(body)}
		_, _ = io.WriteString(w, "{}")
	}))
	defer srv.Close()
	cfg := DefaultConfig()
	cfg.Endpoint, cfg.LocalCredentials = srv.URL, true
	ours, err := NewWrite(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	awsConfig, err := cfg.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stock := timestreamwrite.NewFromConfig(awsConfig, func(o *timestreamwrite.Options) {
		o.BaseEndpoint = aws.String(srv.URL)
		o.EndpointDiscovery.EnableEndpointDiscovery = aws.EndpointDiscoveryDisabled
	})
	send := func(c *timestreamwrite.Client, in *timestreamwrite.WriteRecordsInput) seen {
		t.Helper()
		last = seen{}
		if _, err := c.WriteRecords(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		return last
	}
	r := rand.New(rand.NewPCG(1, 2))
	long := 0
	for i := range 500 {
		in := randomWrite(r)
		want, got := send(stock, in), send(ours, in)
		if got != want {
			t.Fatalf("request %d:\ngot  %+v\nwant %+v", i, got, want)
		}
		if len(want.body) > 10_000 {
			long++
		}
	}
	if long == 0 {
		t.Error("no request of a usual size was compared")
	}
	// What the SDK refuses before it sends, is refused still.
	if _, err := ours.WriteRecords(t.Context(), &timestreamwrite.WriteRecordsInput{}); err == nil || !strings.Contains(err.Error(), "validation") {
		t.Errorf("an input without its required members: got %v", err)
	}
}

// randomWrite returns a valid input in which every member is set or not by chance.
func randomWrite(r *rand.Rand) *timestreamwrite.WriteRecordsInput {
	in := &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("db"), TableName: aws.String("table"), Records: []types.Record{}}
	if r.IntN(2) == 0 {
		c := randomRecord(r)
		in.CommonAttributes = &c
	}
	for range r.IntN(100) {
		in.Records = append(in.Records, randomRecord(r))
	}
	return in
}

func randomRecord(r *rand.Rand) types.Record {
	var rec types.Record
	some := func() bool { return r.IntN(3) > 0 }
	if some() {
		rec.Dimensions = []types.Dimension{}
		for range r.IntN(8) {
			d := types.Dimension{Name: randomText(r), Value: randomText(r)}
			if !some() {
				d.DimensionValueType = types.DimensionValueTypeVarchar
			}
			rec.Dimensions = append(rec.Dimensions, d)
		}
	}
	if some() {
		rec.MeasureName = randomText(r)
	}
	if some() {
		rec.MeasureValue = randomText(r)
	}
	if !some() {
		rec.MeasureValues = []types.MeasureValue{}
		for range r.IntN(4) {
			rec.MeasureValues = append(rec.MeasureValues, types.MeasureValue{Name: randomText(r), Value: randomText(r), Type: types.MeasureValueTypeBigint})
		}
	}
	if some() {
		rec.MeasureValueType = types.MeasureValueTypeMulti
	}
	if some() {
		rec.Time = aws.String(fmt.Sprint(r.Int64()))
	}
	if some() {
		rec.TimeUnit = types.TimeUnitNanoseconds
	}
	if !some() {
		rec.Version = aws.Int64(r.Int64())
	}
	return rec
}

// randomText returns text with all that JSON has to escape, and what is no UTF-8.
func randomText(r *rand.Rand) *string {
	pieces := []string{"up", "instance-0", `"`, `\`, "\n", "\r", "\t", "\x00", "\x1f", "\x7f", "<&>", "é", "地区", "\U0001F600", "\u2028", "\u2029", "\ufffd", "\xff", "\xe2\x80", "a\xc3"}
	var b strings.Builder
	for range r.IntN(5) {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	return aws.String(b.String())
}

// BenchmarkSerialize compares the two on a usual request: 100 records, the dimensions of the target hoisted.
func BenchmarkSerialize(b *testing.B) {
	in := &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("PrometheusDatabase"), TableName: aws.String("PrometheusMetricsTable"),
		CommonAttributes: &types.Record{MeasureValueType: types.MeasureValueTypeDouble, TimeUnit: types.TimeUnitMilliseconds}}
	for i := range 100 {
		rec := types.Record{MeasureName: aws.String("http_request_duration_seconds_bucket"), MeasureValue: aws.String("12345.5"), Time: aws.String("1790000000000")}
		for _, l := range []string{"job", "instance", "namespace", "pod", "container", "handler", "le", "method"} {
			rec.Dimensions = append(rec.Dimensions, types.Dimension{Name: aws.String(l), Value: aws.String(fmt.Sprintf("%s-value-%d", l, i))})
		}
		in.Records = append(in.Records, rec)
	}
	answer := roundTripper(func(r *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, r.Body)
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")), Request: r}, nil
	})
	cfg := DefaultConfig()
	cfg.Endpoint, cfg.LocalCredentials = "http://127.0.0.1:1", true
	awsConfig, err := cfg.load(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		opt  func(*timestreamwrite.Options)
	}{
		{"sdk", func(*timestreamwrite.Options) {}},
		{"ours", func(o *timestreamwrite.Options) { o.APIOptions = append(o.APIOptions, swapSerializer) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			client := timestreamwrite.NewFromConfig(awsConfig, func(o *timestreamwrite.Options) {
				o.BaseEndpoint = aws.String(cfg.Endpoint)
				o.EndpointDiscovery.EnableEndpointDiscovery = aws.EndpointDiscoveryDisabled
				o.HTTPClient = answer
			}, c.opt)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.WriteRecords(context.Background(), in); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/record")
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) Do(r *http.Request) (*http.Response, error) { return f(r) }
