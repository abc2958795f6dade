// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// stockAndOurs are the SDK's client as it comes and a RecordsWriter, both sending to url.
func stockAndOurs(tb testing.TB, url string) (*timestreamwrite.Client, *RecordsWriter) {
	tb.Helper()
	tb.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	tb.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	tb.Setenv("AWS_SESSION_TOKEN", "session token")
	cfg := DefaultConfig()
	cfg.Endpoint, cfg.UserAgent = url, "tributary-test/1"
	ours, err := NewWrite(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	awsConfig, err := cfg.load(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	stock := timestreamwrite.NewFromConfig(awsConfig, func(o *timestreamwrite.Options) {
		o.BaseEndpoint = aws.String(url)
		o.EndpointDiscovery.EnableEndpointDiscovery = aws.EndpointDiscoveryDisabled
	})
	return stock, NewRecordsWriter(ours, time.Now)
}

// TestReadyBodiesAreSentAsTheSDKSendsThem sends the same requests by the SDK as it comes and as ready bodies: everything
// that a service looks at is equal, and the signature is the SDK's own for what arrived.
func TestReadyBodiesAreSentAsTheSDKSendsThem(t *testing.T) {
	var last *http.Request
	var lastBody []byte
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		if lastBody, err = io.ReadAll(r.Body); err != nil {
			t.Error(err)
		}
		last = r.Clone(context.Background())
		_, _ = io.WriteString(w, `{"RecordsIngested":{"Total":7,"MemoryStore":4,"MagneticStore":3}}`)
	}))
	defer srv.Close()
	stock, ours := stockAndOurs(t, srv.URL)
	// Headers that say nothing to the service, or differ from call to call.
	own := map[string]bool{"Authorization": true, "X-Amz-Date": true, "Amz-Sdk-Invocation-Id": true, "Amz-Sdk-Request": true}
	seen := func() (map[string][]string, []byte) {
		h := map[string][]string{"": {last.Method, last.URL.Path, last.Host, fmt.Sprint(last.ContentLength)}}
		for k, v := range last.Header {
			if !own[k] {
				h[k] = v
			}
		}
		return h, lastBody
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 100 {
		in := randomWrite(r)
		out, err := stock.WriteRecords(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		want, wantBody := seen()
		released := 0
		got, err := ours.WriteRecordsBody(t.Context(), wantBody, func() { released++ })
		if err != nil {
			t.Fatal(err)
		}
		have, haveBody := seen()
		if !reflect.DeepEqual(have, want) || !bytes.Equal(haveBody, wantBody) || released != 1 {
			t.Fatalf("request %d:\ngot  %v\nwant %v\nbody %s", i, have, want, haveBody)
		}
		if !reflect.DeepEqual(got.RecordsIngested, out.RecordsIngested) {
			t.Fatalf("got %v, want %v", got.RecordsIngested, out.RecordsIngested)
		}
		checkSignature(t, srv.URL, last, lastBody)
	}
}

// checkSignature signs what arrived again, with the same headers, and compares.
func checkSignature(t *testing.T, url string, r *http.Request, body []byte) {
	t.Helper()
	signedAt, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		t.Fatal(err)
	}
	authorization := r.Header.Get("Authorization")
	_, rest, _ := strings.Cut(authorization, "SignedHeaders=")
	names, _, _ := strings.Cut(rest, ",")
	again, err := http.NewRequest(http.MethodPost, url+"/", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(names, ";") {
		if v := r.Header.Values(name); len(v) > 0 && name != "host" && name != "content-length" {
			again.Header[http.CanonicalHeaderKey(name)] = v
		}
	}
	for _, must := range []string{"host", "content-length", "content-type", "x-amz-date", "x-amz-security-token", "x-amz-target"} {
		if !strings.Contains(";"+names+";", ";"+must+";") {
			t.Fatalf("%s is not signed: %s", must, authorization)
		}
	}
	credentials := aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret", SessionToken: "session token"}
	if err := v4.NewSigner().SignHTTP(t.Context(), credentials, again, fmt.Sprintf("%x", sha256.Sum256(body)), "timestream", "us-east-1", signedAt); err != nil {
		t.Fatal(err)
	}
	if got, want := authorization, again.Header.Get("Authorization"); got != want {
		t.Fatalf("signed %s\nwant   %s", got, want)
	}
}

// TestErrorsOfReadyBodiesAreTheSDKs answers both in every way that matters.
func TestErrorsOfReadyBodiesAreTheSDKs(t *testing.T) {
	var status int
	var answer string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Amzn-Requestid", "REQUEST")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	defer srv.Close()
	stock, ours := stockAndOurs(t, srv.URL)
	status, answer = http.StatusOK, "{}"
	body := []byte(`{"DatabaseName":"d","TableName":"t","Records":[]}`)
	if _, err := ours.WriteRecordsBody(t.Context(), body, func() {}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		status int
		answer string
	}{
		{419, `{"__type":"com.amazonaws.timestream.v20181101#RejectedRecordsException","Message":"some","RejectedRecords":[{"RecordIndex":3,"Reason":"a","ExistingVersion":2},{"RecordIndex":0,"Reason":"b"}]}`},
		{400, `{"__type":"com.amazonaws.timestream.v20181101#ValidationException","message":"Invalid time for record."}`},
		{400, `{"__type":"com.amazonaws.timestream.v20181101#ThrottlingException","message":"slow down"}`},
		{404, `{"__type":"ResourceNotFoundException","message":"The table t does not exist."}`},
		{403, `{"__type":"AccessDeniedException","Message":"no"}`},
		{403, `{"__type":"UnrecognizedClientException","message":"The security token included in the request is invalid."}`},
		{421, `{"__type":"InvalidEndpointException","message":"moved"}`},
		{500, `{"__type":"InternalServerException","message":"oops"}`},
		{503, `<html>busy</html>`},
		{502, ``},
		{302, ``},
		{200, `not JSON`},
	} {
		status, answer = tt.status, tt.answer
		_, want := stock.WriteRecords(t.Context(), sample())
		_, got := ours.WriteRecordsBody(t.Context(), body, func() {})
		if want == nil || got == nil {
			t.Fatalf("%d %s: got %v, want %v", tt.status, tt.answer, got, want)
		}
		var a, b smithy.APIError
		if errors.As(want, &a) != errors.As(got, &b) {
			t.Fatalf("%d %s: got %v, want %v", tt.status, tt.answer, got, want)
		}
		if a == nil {
			continue
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%d %s: got %#v, want %#v", tt.status, tt.answer, b, a)
		}
		var ra, rb *smithyhttp.ResponseError
		if !errors.As(want, &ra) || !errors.As(got, &rb) || ra.HTTPStatusCode() != rb.HTTPStatusCode() {
			t.Errorf("%d %s: got %v, want %v", tt.status, tt.answer, got, want)
		}
	}
}

// TestTemplateFollowsTheEndpoint: requests go where the SDK's discovery says, which is asked again when that endpoint says
// that it has moved, and credentials are those of the moment.
func TestTemplateFollowsTheEndpoint(t *testing.T) {
	var mu sync.Mutex
	cell, described := "ingest-cell1.timestream.us-east-1.amazonaws.com", 0
	var calls []string
	answer := func(r *http.Request) (int, string) {
		mu.Lock()
		defer mu.Unlock()
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), "DescribeEndpoints") {
			described++
			return 200, fmt.Sprintf(`{"Endpoints":[{"Address":%q,"CachePeriodInMinutes":1440}]}`, cell)
		}
		_, key, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
		key, _, _ = strings.Cut(key, "/")
		calls = append(calls, r.URL.Host+" "+key)
		if r.URL.Host != cell {
			return 421, `{"__type":"InvalidEndpointException","message":"moved"}`
		}
		return 200, "{}"
	}
	key := "ONE"
	c := timestreamwrite.New(timestreamwrite.Options{
		Region: "us-east-1", Retryer: aws.NopRetryer{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: key, SecretAccessKey: "x"}, nil
		}),
		EndpointDiscovery: timestreamwrite.EndpointDiscoveryOptions{EnableEndpointDiscovery: aws.EndpointDiscoveryAuto},
		HTTPClient: httpFunc(func(r *http.Request) (*http.Response, error) {
			if r.Body != nil {
				_, _ = io.Copy(io.Discard, r.Body)
				_ = r.Body.Close()
			}
			status, text := answer(r)
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
		}),
	})
	now := time.Now()
	w := NewRecordsWriter(c, func() time.Time { return now })
	send := func() error {
		_, err := w.WriteRecordsBody(t.Context(), []byte("{}"), func() {})
		return err
	}
	for range 3 {
		if err := send(); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	cell = "ingest-cell2.timestream.us-east-1.amazonaws.com"
	mu.Unlock()
	if err := send(); err == nil || !strings.Contains(err.Error(), "InvalidEndpointException") {
		t.Fatalf("got %v", err)
	}
	key = "TWO"
	if err := send(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"ingest-cell1.timestream.us-east-1.amazonaws.com ONE", "ingest-cell1.timestream.us-east-1.amazonaws.com ONE", "ingest-cell1.timestream.us-east-1.amazonaws.com ONE",
		"ingest-cell1.timestream.us-east-1.amazonaws.com ONE", "ingest-cell2.timestream.us-east-1.amazonaws.com TWO",
	}
	if !reflect.DeepEqual(calls, want) || described != 2 {
		t.Errorf("got %q with %d discoveries, want %q with 2", calls, described, want)
	}
}

// TestClockThatIsWrong: a service refuses what was signed an hour ago; from its answer the SDK learns its time, and so does the
// writer.
func TestClockThatIsWrong(t *testing.T) {
	const ahead = time.Hour
	var dates []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		now := time.Now().Add(ahead)
		w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
		signed, err := time.Parse(signedAt, r.Header.Get("X-Amz-Date"))
		if err != nil || now.Sub(signed).Abs() > 5*time.Minute {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"__type":"InvalidSignatureException","message":"Signature expired"}`)
			return
		}
		dates = append(dates, r.Header.Get("X-Amz-Date"))
		_, _ = io.WriteString(w, "{}")
	}))
	defer srv.Close()
	_, ours := stockAndOurs(t, srv.URL)
	body := []byte(`{"DatabaseName":"d","TableName":"t","Records":[]}`)
	if _, err := ours.WriteRecordsBody(t.Context(), body, func() {}); err == nil {
		t.Fatal("signed by a wrong clock and accepted")
	}
	for range 3 {
		if _, err := ours.WriteRecordsBody(t.Context(), body, func() {}); err != nil {
			t.Fatal(err)
		}
	}
	if len(dates) != 3 {
		t.Errorf("accepted %v", dates)
	}
}

// TestHugeErrorsAreNotRead: an answer that is no success takes no more memory than a large refusal.
func TestHugeErrorsAreNotRead(t *testing.T) {
	read := 0
	w := NewRecordsWriter(timestreamwrite.New(timestreamwrite.Options{
		Region: "us-east-1", Retryer: aws.NopRetryer{}, BaseEndpoint: aws.String("http://127.0.0.1:1"),
		EndpointDiscovery: timestreamwrite.EndpointDiscoveryOptions{EnableEndpointDiscovery: aws.EndpointDiscoveryDisabled},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "a", SecretAccessKey: "b"}, nil
		}),
		HTTPClient: httpFunc(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusInternalServerError, Header: http.Header{}, Body: io.NopCloser(endless{&read}), Request: r}, nil
		}),
	}), time.Now)
	if _, err := w.WriteRecordsBody(t.Context(), []byte("{}"), func() {}); err == nil || read > 4*maxAnswer {
		t.Errorf("read %d bytes: %v", read, err)
	}
}

type endless struct{ read *int }

func (e endless) Read(p []byte) (int, error) {
	*e.read += len(p)
	return len(p), nil
}

type httpFunc func(*http.Request) (*http.Response, error)

func (f httpFunc) Do(r *http.Request) (*http.Response, error) { return f(r) }

// TestBodyIsReleasedWhenItIsNoLongerRead cancels calls at every stage: a body is released at most once, never while it can
// still be read, and always when the call succeeded.
func TestBodyIsReleasedWhenItIsNoLongerRead(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength%2 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable) // before the body has come
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "{}")
	}))
	defer srv.Close()
	_, ours := stockAndOurs(t, srv.URL)
	var wg sync.WaitGroup
	const calls = 200
	var released [calls]atomic.Int32
	var succeeded [calls]bool
	for i := range calls {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			if i%5 > 0 {
				ctx, cancel = context.WithTimeout(ctx, time.Duration(i)*time.Millisecond)
			}
			defer cancel()
			body := bytes.Repeat([]byte{' '}, 1<<18+i)
			_, err := ours.WriteRecordsBody(ctx, body, func() {
				clear(body) // the race detector tells whether the transport still reads
				released[i].Add(1)
			})
			succeeded[i] = err == nil
		})
	}
	wg.Wait()
	good := 0
	for i := range released {
		if succeeded[i] {
			good++
		}
		if n := released[i].Load(); n > 1 || succeeded[i] && n == 0 {
			t.Errorf("body %d was released %d times", i, n)
		}
	}
	if good == 0 {
		t.Error("no call succeeded")
	}
}

// TestConnectionThatWasClosedMeanwhile: a server may close an idle connection just as a request begins; that is no failure.
func TestConnectionThatWasClosedMeanwhile(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "{}")
	}))
	defer srv.Close()
	_, ours := stockAndOurs(t, srv.URL)
	for range 50 {
		if _, err := ours.WriteRecordsBody(t.Context(), []byte("{}"), func() {}); err != nil {
			t.Fatal(err)
		}
		srv.CloseClientConnections()
	}
}

// BenchmarkCall is a whole call, with the SDK's input and with a ready body, to a server in this process.
func BenchmarkCall(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"RecordsIngested":{"Total":100,"MemoryStore":100,"MagneticStore":0}}`)
	}))
	defer srv.Close()
	_, ours := stockAndOurs(b, srv.URL)
	in := usualWrite()
	var body []byte
	if _, err := ours.client.Load().WriteRecords(b.Context(), in, func(o *timestreamwrite.Options) {
		o.HTTPClient = httpFunc(func(r *http.Request) (*http.Response, error) {
			var err error
			body, err = io.ReadAll(r.Body)
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")), Request: r}, err
		})
	}); err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		call func() error
	}{
		{"input", func() error { _, err := ours.WriteRecords(b.Context(), in); return err }},
		{"body", func() error { _, err := ours.WriteRecordsBody(b.Context(), body, func() {}); return err }},
	} {
		b.Run(c.name, func(b *testing.B) {
			mallocs := func() uint64 {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return m.Mallocs
			}
			b.ReportAllocs()
			before := mallocs()
			for b.Loop() {
				if err := c.call(); err != nil {
					b.Fatal(err)
				}
			}
			records := float64(b.N) * float64(len(in.Records))
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/records, "ns/sample")
			b.ReportMetric(float64(mallocs()-before)/records, "allocs/sample") // those of the server included
		})
	}
}

// usualWrite has 100 records, no dimension hoisted.
func usualWrite() *timestreamwrite.WriteRecordsInput {
	in := &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("PrometheusDatabase"), TableName: aws.String("PrometheusMetricsTable"),
		CommonAttributes: &types.Record{MeasureValueType: types.MeasureValueTypeDouble, TimeUnit: types.TimeUnitMilliseconds}}
	for i := range 100 {
		rec := types.Record{MeasureName: aws.String("http_request_duration_seconds_bucket"), MeasureValue: aws.String("12345.5"), Time: aws.String("1790000000000")}
		for _, l := range []string{"job", "instance", "namespace", "pod", "container", "handler", "le", "method"} {
			rec.Dimensions = append(rec.Dimensions, types.Dimension{Name: aws.String(l), Value: aws.String(fmt.Sprintf("%s-value-%d", l, i))})
		}
		in.Records = append(in.Records, rec)
	}
	return in
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
