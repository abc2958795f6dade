// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/tributary-project/tributary/allinone"
	"github.com/tributary-project/tributary/e2e/internal/rw"
	"github.com/tributary-project/tributary/e2e/internal/system"
	"github.com/tributary-project/tributary/timestream/local"
)

// maxText is how much of an answer Prometheus logs.
const maxText = 1024

// protocols are both versions of remote write.
func protocols() []rw.Protocol { return []rw.Protocol{rw.V1, rw.V2} }

// oneDay is a table that holds a day and a quarter, so that something can be too old.
func oneDay(c *local.Config) { c.MagneticRetentionDays = 1 }

// TestUnreadableRequests sends what cannot be decoded or is not taken, and sees the status, the reason in the answer, and
// that the next request is served.
func TestUnreadableRequests(t *testing.T) {
	t.Parallel()
	const maxBody, maxDecompressed, maxIngest, maxSamples = 64 << 10, 512 << 10, 256 << 10, 1000
	s := system.Start(t, system.Options{App: func(c *allinone.Config) {
		c.Gateway.MaxRequestBytes, c.Gateway.MaxDecompressedBytes = maxBody, maxDecompressed
		c.Ingest.MaxDecompressedBytes, c.Ingest.MaxSamples = maxIngest, maxSamples
	}})
	p := probe{t, s.URL}
	now := time.Now().UnixMilli()
	noise := make([]byte, 2*maxBody)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	// declares returns a block that claims to hold n bytes and holds one.
	declares := func(n uint64) []byte { return append(binary.AppendUvarint(nil, n), 0, 'x') }
	many := func(protocol rw.Protocol, n int) []byte {
		one := rw.New("__name__", "m")
		for i := range n {
			one = one.At(now-int64(i), 1)
		}
		return rw.Request{Series: []rw.Series{one}}.Encode(protocol)
	}

	for _, protocol := range protocols() {
		valid := rw.Request{Series: []rw.Series{rw.New("__name__", "m", "job", "some job").At(now, 1)}}.Encode(protocol)
		block := snappy.Encode(nil, valid)
		for _, c := range []struct {
			name    string
			body    []byte
			header  map[string]string
			method  string
			path    string
			chunked bool
			status  int
			text    []string
		}{
			{name: "empty body", body: []byte{}, status: 400, text: []string{"snappy"}},
			{name: "no snappy", body: valid, status: 400, text: []string{"snappy"}},
			{name: "header without end", body: bytes.Repeat([]byte{0xff}, 20), status: 400, text: []string{"snappy"}},
			{name: "damaged block", body: append(bytes.Clone(block[:4]), 0xfe, 0xff, 0xff, 0xff, 0xff), status: 400, text: []string{"snappy"}},
			{name: "block cut short", body: block[:len(block)-3], status: 400, text: []string{"snappy"}},
			{name: "block and more", body: append(bytes.Clone(block), "more"...), status: 400, text: []string{"snappy"}},
			{name: "too large", body: noise, status: 413, text: []string{"65536", "--web.max-request-bytes"}},
			{name: "too large without declared length", body: noise, chunked: true, status: 413, text: []string{"65536", "--web.max-request-bytes"}},
			{name: "declares 1 GiB", body: declares(1 << 30), status: 413, text: []string{"1073741824", "--web.max-decompressed-bytes"}},
			{name: "declares all but 4 GiB", body: declares(1<<32 - 1), status: 413, text: []string{"4294967295", "--web.max-decompressed-bytes"}},
			{name: "declares 4 GiB, more than snappy has", body: declares(1 << 32), status: 400, text: []string{"snappy"}},
			{name: "declares more than fits 64 bits", body: bytes.Repeat([]byte{0xff}, 11), status: 400, text: []string{"snappy"}},
			{name: "declares what it cannot hold", body: declares(maxIngest), status: 400, text: []string{"snappy", "claims to hold 262144"}},
			{name: "really too large decompressed", body: snappy.Encode(nil, make([]byte, maxDecompressed+1)), status: 413, text: []string{"524289", "--web.max-decompressed-bytes"}},
			{name: "too large for ingest", body: snappy.Encode(nil, make([]byte, maxIngest+1)), status: 413, text: []string{"262145", "--ingest.max-decompressed-bytes"}},
			{name: "too many samples", body: snappy.Encode(nil, many(protocol, maxSamples+1)), status: 400, text: []string{"1000", "--ingest.max-samples-per-request"}},
			{name: "no protocol buffer", body: snappy.Encode(nil, noise[:1000]), status: 400, text: []string{"corrupt message"}},
			{name: "message cut short", body: snappy.Encode(nil, valid[:len(valid)-1]), status: 400, text: []string{"corrupt message", "truncated"}},
			{name: "text", body: snappy.Encode(nil, []byte(`{"timeseries":[]}`)), status: 400, text: []string{"corrupt message"}},
			{name: "Content-Type JSON", header: map[string]string{"Content-Type": "application/json"}, status: 415, text: []string{"application/json", "application/x-protobuf"}},
			{name: "Content-Type malformed", header: map[string]string{"Content-Type": ";;"}, status: 415, text: []string{"application/x-protobuf"}},
			{name: "other message", header: map[string]string{"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v3.Request"}, status: 415, text: []string{"io.prometheus.write.v3.Request", "io.prometheus.write.v2.Request"}},
			{name: "Content-Encoding gzip", header: map[string]string{"Content-Encoding": "gzip"}, status: 415, text: []string{"gzip", "snappy"}},
			{name: "Content-Encoding twice", header: map[string]string{"Content-Encoding": "snappy, snappy"}, status: 415, text: []string{"snappy"}},
			{name: "GET", method: http.MethodGet, status: 405, text: []string{"GET", "POST"}},
			{name: "PUT", method: http.MethodPut, status: 405, text: []string{"PUT", "POST"}},
			{name: "DELETE", method: http.MethodDelete, status: 405, text: []string{"DELETE", "POST"}},
			{name: "no such path", path: "/api/v1/writes", status: 404, text: []string{"404"}},
			{name: "no such path below", path: "/api/v1/write/", status: 404, text: []string{"404"}},
			{name: "no such version", path: "/api/v2/write", status: 404, text: []string{"404"}},
		} {
			t.Run(fmt.Sprintf("%s/%s", protocol, c.name), func(t *testing.T) {
				if c.body == nil {
					c.body = block
				}
				if c.method == "" {
					c.method = http.MethodPost
				}
				if c.path == "" {
					c.path = "/api/v1/write"
				}
				req, err := http.NewRequestWithContext(t.Context(), c.method, s.URL+c.path, bytes.NewReader(c.body))
				if err != nil {
					t.Fatal(err)
				}
				if c.chunked {
					req.ContentLength = -1
				}
				req.Header.Set("Content-Type", protocol.ContentType())
				req.Header.Set("Content-Encoding", "snappy")
				for name, value := range c.header {
					req.Header.Set(name, value)
				}
				a, err := rw.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				if a.Status != c.status {
					t.Errorf("got %d, want %d: %s", a.Status, c.status, a.Text)
				}
				for _, text := range c.text {
					if !strings.Contains(a.Text, text) {
						t.Errorf("the answer does not say %q: %s", text, a.Text)
					}
				}
				if len(a.Text) > maxText || !utf8.ValidString(a.Text) {
					t.Errorf("an answer of %d bytes: %q", len(a.Text), a.Text)
				}
				if c.status == http.StatusMethodNotAllowed && a.Header.Get("Allow") != http.MethodPost {
					t.Errorf("Allow: %q, want POST", a.Header.Get("Allow"))
				}
				// A 2.0 sender whose request was understood as 2.0 learns that nothing was written.
				if protocol == rw.V2 && (c.status == 400 || c.status == 413) && a.Written() != "0 0 0" {
					t.Errorf("written: %s, want 0 0 0", a.Written())
				}
			})
		}
		t.Run(fmt.Sprintf("%s/then a good one", protocol), func(t *testing.T) {
			p := probe{t, s.URL}
			good := rw.New("__name__", "good", "protocol", protocol.String()).At(now, 42)
			p.accept(protocol, good)
			p.same(p.read(eq("protocol", protocol.String())), good)
		})
		// Nothing at all is a valid message of no series.
		if a, err := rw.Post(t.Context(), s.WriteURL(), protocol.ContentType(), snappy.Encode(nil, nil)); err != nil || a.Status != http.StatusNoContent {
			t.Errorf("an empty message got %d %s, %v; want 204", a.Status, a.Text, err)
		}
	}
	if got := p.read(eq("__name__", "m")); len(got) > 0 {
		t.Errorf("stored of refused requests: %v", got)
	}
}

// TestUnreadableReads is the same for remote read.
func TestUnreadableReads(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{App: func(c *allinone.Config) {
		c.Gateway.MaxRequestBytes, c.Gateway.MaxDecompressedBytes, c.Gateway.MaxReadQueries = 64<<10, 512<<10, 3
	}})
	p := probe{t, s.URL}
	now := time.Now().UnixMilli()
	good := rw.New("__name__", "good").At(now, 42)
	p.accept(rw.V2, good)
	query := func(ms ...*prompb.LabelMatcher) *prompb.Query {
		return &prompb.Query{StartTimestampMs: 0, EndTimestampMs: now, Matchers: ms}
	}
	request := func(qs ...*prompb.Query) []byte {
		b, err := (&prompb.ReadRequest{Queries: qs}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return snappy.Encode(nil, b)
	}
	valid := request(query(eq("__name__", "good")))
	chunksOnly, err := (&prompb.ReadRequest{
		Queries: []*prompb.Query{query(eq("__name__", "good"))}, AcceptedResponseTypes: []prompb.ReadRequest_ResponseType{7},
	}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	four := query(eq("__name__", "good"))
	for _, c := range []struct {
		name, method, path, contentType string
		body                            []byte
		status                          int
		text                            []string
	}{
		{name: "empty body", body: []byte{}, status: 400, text: []string{"snappy"}},
		{name: "block cut short", body: valid[:len(valid)-1], status: 400, text: []string{"snappy"}},
		{name: "declares 1 GiB", body: append(binary.AppendUvarint(nil, 1<<30), 0, 'x'), status: 413, text: []string{"--web.max-decompressed-bytes"}},
		{name: "declares what it cannot hold", body: append(binary.AppendUvarint(nil, 500<<10), 0, 'x'), status: 400, text: []string{"snappy", "claims to hold"}},
		{name: "too large", body: make([]byte, 64<<10+1), status: 413, text: []string{"--web.max-request-bytes"}},
		{name: "no protocol buffer", body: snappy.Encode(nil, bytes.Repeat([]byte{0xff}, 100)), status: 400, text: []string{"prometheus.ReadRequest"}},
		{name: "Content-Type", contentType: "application/json", status: 415, text: []string{"application/json", "application/x-protobuf"}},
		{name: "GET", method: http.MethodGet, status: 405, text: []string{"GET", "POST"}},
		{name: "no such path", path: "/api/v1/reads", status: 404, text: []string{"404"}},
		{name: "too many queries", body: request(four, four, four, four), status: 400, text: []string{"4 queries", "limit is 3", "--read.max-queries"}},
		{name: "unknown response type", body: snappy.Encode(nil, chunksOnly), status: 400, text: []string{"7", "SAMPLES"}},
		{name: "unknown matcher type", body: request(query(&prompb.LabelMatcher{Type: 9, Name: "a", Value: "b"})), status: 400, text: []string{"query 0", "matcher type 9"}},
		{name: "invalid expression", body: request(query(eq("__name__", "good")), query(eq("a", "b"), re("job", "a(b"))), status: 400, text: []string{"job", "missing closing )"}},
		{name: "invalid expression for Go, not for Java", body: request(query(re("job", `a(?=b)`))), status: 400, text: []string{"job", "(?="}},
		{name: "back reference", body: request(query(re("job", `(a)\1`))), status: 400, text: []string{"job", `\1`}},
		{name: "repetition over RE2's limit", body: request(query(re("job", `a{1001}`))), status: 400, text: []string{"job", "{1001}"}},
		{name: "no matchers", body: request(query()), status: 400, text: []string{"matchers"}},
		{name: "matcher without a name", body: request(query(eq("", "x"))), status: 400, text: []string{"matcher 0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.body == nil {
				c.body = valid
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/api/v1/read"+strings.TrimPrefix(c.path, "/api/v1/read"), bytes.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-protobuf")
			if c.contentType != "" {
				req.Header.Set("Content-Type", c.contentType)
			}
			if c.method != "" {
				req.Method = c.method
			}
			req.Header.Set("Content-Encoding", "snappy")
			a, err := rw.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if a.Status != c.status {
				t.Errorf("got %d, want %d: %s", a.Status, c.status, a.Text)
			}
			for _, text := range c.text {
				if !strings.Contains(a.Text, text) {
					t.Errorf("the answer does not say %q: %s", text, a.Text)
				}
			}
			if len(a.Text) > maxText {
				t.Errorf("an answer of %d bytes: %q", len(a.Text), a.Text)
			}
		})
	}
	p.same(p.read(eq("__name__", "good")), good)
}

// TestBadSeries sends requests of which a part cannot be stored: the answer is a 400 that counts and names the reason,
// and the good part is stored.
func TestBadSeries(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{Store: oneDay})
	now := time.Now().UnixMilli()
	sample := []rw.Sample{{TimeMs: now, Value: 1}}
	labelled := func(pairs ...string) rw.Series { return rw.Raw(pairs...).At(now, 1) }
	at := func(ms ...int64) rw.Series {
		one := rw.New("__name__", "bad", "job", "j")
		for _, t := range ms {
			one = one.At(t, 1)
		}
		return one
	}
	for i, c := range []struct {
		name   string
		only   rw.Protocol
		bad    []rw.Series
		reason string
		count  int
		text   []string
	}{
		{name: "label value is not UTF-8", bad: []rw.Series{labelled("__name__", "bad", "job", "a\xffb")}, reason: "invalid_utf8", text: []string{"bad", "job", "UTF-8"}},
		{name: "label name is not UTF-8", bad: []rw.Series{labelled("__name__", "bad", "jo\xc3", "b")}, reason: "invalid_utf8", text: []string{"bad", "UTF-8"}},
		{name: "metric name is not UTF-8", bad: []rw.Series{labelled("__name__", "ba\xed\xa0\x80d")}, reason: "invalid_utf8", text: []string{"UTF-8"}},
		{name: "duplicate label name", bad: []rw.Series{labelled("__name__", "bad", "job", "a", "job", "b")}, reason: "duplicate_label_name", text: []string{"bad", "occurs twice"}},
		{name: "duplicate label name and value", bad: []rw.Series{labelled("__name__", "bad", "job", "a", "job", "a")}, reason: "duplicate_label_name", text: []string{"bad", "occurs twice"}},
		{name: "duplicate label name, not side by side", bad: []rw.Series{labelled("job", "a", "__name__", "bad", "job", "b")}, reason: "duplicate_label_name", text: []string{"occurs twice"}},
		{name: "duplicate metric name", bad: []rw.Series{labelled("__name__", "bad", "__name__", "worse")}, reason: "duplicate_label_name", text: []string{"occurs twice"}},
		{name: "no labels", bad: []rw.Series{labelled()}, reason: "empty_label_set", text: []string{"no labels"}},
		{name: "only empty labels", bad: []rw.Series{labelled("job", "")}, reason: "empty_label_set", text: []string{"no labels"}},
		{name: "no metric name", bad: []rw.Series{labelled("job", "a")}, reason: "missing_metric_name", text: []string{`job="a"`, "__name__"}},
		{name: "empty metric name", bad: []rw.Series{labelled("__name__", "", "job", "a")}, reason: "missing_metric_name", text: []string{`job="a"`, "__name__"}},
		{name: "empty label name", bad: []rw.Series{labelled("", "x", "__name__", "bad")}, reason: "empty_label_name", text: []string{"bad", "without a name"}},
		{name: "labels too large", bad: []rw.Series{labelled("__name__", "bad", "a", strings.Repeat("x", 1100), "b", strings.Repeat("y", 1100))}, reason: "labels_too_large", text: []string{"bad", "2202 bytes", "limit is 2048"}},
		{name: "too old", bad: []rw.Series{at(now - 48*time.Hour.Milliseconds())}, reason: "out_of_window", text: []string{"bad", "outside the time range"}},
		{name: "at the beginning of time", bad: []rw.Series{at(0)}, reason: "out_of_window", text: []string{"bad", "outside the time range"}},
		{name: "too far in the future", bad: []rw.Series{at(now + time.Hour.Milliseconds())}, reason: "out_of_window", text: []string{"bad", "outside the time range"}},
		{name: "negative time", bad: []rw.Series{at(-1)}, reason: "out_of_range", text: []string{"bad", "timestamp -1 ms"}},
		{name: "first time", bad: []rw.Series{at(math.MinInt64)}, reason: "out_of_range", text: []string{"-9223372036854775808"}},
		{name: "last time", bad: []rw.Series{at(math.MaxInt64)}, reason: "out_of_range", text: []string{"9223372036854775807"}},
		{name: "after what nanoseconds hold", bad: []rw.Series{at(9_223_372_036_855)}, reason: "out_of_range", text: []string{"9223372036855"}},
		{name: "several times", bad: []rw.Series{at(-1, -2, math.MaxInt64)}, reason: "out_of_range", count: 3, text: []string{"-1 ms", "-2 ms"}},
		{name: "reference out of range", only: rw.V2, bad: []rw.Series{{Refs: []uint64{1, 2, 3, 99}, Samples: sample}}, reason: "invalid_symbols", text: []string{"symbols"}},
		{name: "huge reference", only: rw.V2, bad: []rw.Series{{Refs: []uint64{math.MaxUint64, 1}, Samples: sample}}, reason: "invalid_symbols", text: []string{"symbols"}},
		{name: "odd references", only: rw.V2, bad: []rw.Series{{Refs: []uint64{1, 2, 3}, Samples: sample}}, reason: "invalid_symbols", text: []string{"end in the middle of a label"}},
		{name: "odd references, one by one", only: rw.V2, bad: []rw.Series{{Refs: []uint64{1, 2, 3}, SpreadRefs: true, Samples: sample}}, reason: "invalid_symbols", text: []string{"end in the middle of a label"}},
	} {
		for _, protocol := range protocols() {
			if c.only != 0 && c.only != protocol {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", c.name, protocol), func(t *testing.T) {
				p := probe{t, s.URL}
				label := fmt.Sprintf("%d %s", i, protocol)
				good := []rw.Series{
					rw.New("__name__", "good", "case", label).At(now-1000, 1).At(now, 2),
					rw.New("__name__", "better", "case", label).At(now, math.Copysign(0, -1)),
				}
				bad := max(c.count, 1)
				a := p.write(protocol, slices.Concat(good[:1], c.bad, good[1:])...)
				if a.Status != http.StatusBadRequest {
					t.Fatalf("got %d, want 400: %s", a.Status, a.Text)
				}
				if want := fmt.Sprintf("samples: %d of %d rejected, 3 written; reasons: samples %s %d; examples: %s: ", bad, bad+3, c.reason, bad, c.reason); !strings.HasPrefix(a.Text, want) {
					t.Errorf("got %q, want it to begin with %q", a.Text, want)
				}
				for _, text := range c.text {
					if !strings.Contains(a.Text, text) {
						t.Errorf("the answer does not say %q: %s", text, a.Text)
					}
				}
				wellFormed(t, a)
				if want := map[rw.Protocol]string{rw.V1: "- - -", rw.V2: "3 0 0"}[protocol]; a.Written() != want {
					t.Errorf("written: %s, want %s", a.Written(), want)
				}
				p.same(p.read(eq("case", label)), good...)
			})
		}
	}
	if got := (probe{t, s.URL}).read(eq("__name__", "bad")); len(got) > 0 {
		t.Errorf("stored of what was rejected: %v", got)
	}
}

// wellFormed checks what all answers have in common: senders read 1,024 bytes, older ones one line.
func wellFormed(t *testing.T, a rw.Answer) {
	t.Helper()
	text := strings.TrimSuffix(a.Text, "\n")
	if len(a.Text) > maxText || !utf8.ValidString(a.Text) || strings.ContainsAny(text, "\n\r\x00") {
		t.Errorf("an answer of %d bytes: %q", len(a.Text), a.Text)
	}
	if kind := a.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/plain") {
		t.Errorf("Content-Type %q, want text/plain", kind)
	}
}

// TestOneSeriesSomeGood: of one series the samples that can be stored are, and of a request with everything wrong at once
// the answer still counts all of it.
func TestOneSeriesSomeGood(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{Store: oneDay})
	now := time.Now().UnixMilli()
	for _, protocol := range protocols() {
		t.Run(protocol.String(), func(t *testing.T) {
			p := probe{t, s.URL}
			mixed := rw.New("__name__", "mixed", "protocol", protocol.String(), "text", "new\nline\u2028\"quote\"")
			stored := mixed.At(now-5, 5).At(now, 6)
			a := p.write(protocol, mixed.At(-7, 1).At(now-5, 5).At(0, 2).At(now, 6).At(now+3_600_000, 3).At(math.MaxInt64, 4))
			if want := "samples: 4 of 6 rejected, 2 written; reasons: samples out_of_range 2, samples out_of_window 2; examples: "; a.Status != 400 || !strings.HasPrefix(a.Text, want) {
				t.Errorf("got %d %q, want 400 %q", a.Status, a.Text, want)
			}
			wellFormed(t, a)

			long := strings.Repeat("long name ", 40)
			all := []rw.Series{
				rw.New("__name__", "fine", "protocol", protocol.String()).At(now, 1),
				rw.Raw().At(now, 1),
				rw.Raw("__name__", long, "a\xff"+long, long).At(now, 1),
				rw.Raw("__name__", long, "", long).At(now, 1),
				rw.Raw("__name__", long, long, long, long, "2").At(now, 1),
				rw.Raw(long, long).At(now, 1),
				rw.New("__name__", long, "é", strings.Repeat("é", 1500)).At(now, 1),
				rw.New("__name__", long, "a", "1").At(-1, 1),
				rw.New("__name__", long, "a", "1").At(1, 1),
			}
			a = p.write(protocol, all...)
			if want := "samples: 8 of 9 rejected, 1 written; reasons: "; a.Status != 400 || !strings.HasPrefix(a.Text, want) {
				t.Errorf("got %d %q, want 400 %q", a.Status, a.Text, want)
			}
			for _, reason := range []string{"empty_label_set", "invalid_utf8", "empty_label_name", "duplicate_label_name", "missing_metric_name", "labels_too_large", "out_of_range", "out_of_window"} {
				if !strings.Contains(a.Text, "samples "+reason+" 1") {
					t.Errorf("the answer does not count %s: %s", reason, a.Text)
				}
			}
			wellFormed(t, a)
			p.same(p.read(eq("protocol", protocol.String())), stored, all[0])
		})
	}
}

// TestSameTimestamp: what is stored stays, the same again is a success, and another value is a conflict.
func TestSameTimestamp(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{})
	now := time.Now().UnixMilli()
	for _, protocol := range protocols() {
		for _, kind := range []struct {
			name         string
			stored, next float64
		}{{"ordinary", 1.5, 2.5}, {"special", math.Inf(1), math.NaN()}} {
			t.Run(fmt.Sprintf("%s/%s", protocol, kind.name), func(t *testing.T) {
				p := probe{t, s.URL}
				series := func(name string) rw.Series {
					return rw.New("__name__", name, "case", protocol.String()+kind.name)
				}
				check := func(step string, a rw.Answer, status int, written, text string) {
					t.Helper()
					if protocol == rw.V1 {
						written = "- - -"
					}
					if a.Status != status || a.Written() != written || !strings.HasPrefix(a.Text, text) {
						t.Errorf("%s: got %d, written %s, %q; want %d, %s, %q", step, a.Status, a.Written(), a.Text, status, written, text)
					}
				}
				first := series("first").At(now, kind.stored)
				check("first", p.write(protocol, first), 204, "1 0 0", "")
				check("again", p.write(protocol, first), 204, "1 0 0", "")
				other := series("other").At(now, 7)
				check("another value", p.write(protocol, series("first").At(now, kind.next), other), 400, "1 0 0",
					"samples: 1 of 2 rejected, 1 written; reasons: samples conflict 1; examples: conflict: first{case=")

				twice := series("twice").At(now, kind.stored)
				check("twice in a request", p.write(protocol, twice, series("twice").At(now, kind.stored).At(now, kind.stored)), 204, "3 0 0", "")
				check("twice with another value", p.write(protocol, series("thrice").At(now, kind.stored).At(now, kind.next)), 204, "2 0 0", "")
				check("a conflict takes its repeats along", p.write(protocol, series("first").At(now, kind.next).At(now, kind.next)), 400, "0 0 0",
					"samples: 2 of 2 rejected, 0 written; reasons: samples conflict 2")
				p.same(p.read(eq("case", protocol.String()+kind.name)), first, other, twice, series("thrice").At(now, kind.stored))
			})
		}
	}
}

// histogram is a small native histogram, in either protocol.
func histogram(t *testing.T, protocol rw.Protocol, now, startMs int64) []byte {
	t.Helper()
	var m interface{ Marshal() ([]byte, error) }
	if protocol == rw.V1 {
		m = &prompb.Histogram{Count: &prompb.Histogram_CountInt{CountInt: 1}, Sum: 1, Schema: 3, Timestamp: now, PositiveSpans: []prompb.BucketSpan{{Length: 1}}, PositiveDeltas: []int64{1}}
	} else {
		m = &writev2.Histogram{Count: &writev2.Histogram_CountInt{CountInt: 1}, Sum: 1, Schema: 3, Timestamp: now, StartTimestamp: startMs, PositiveSpans: []writev2.BucketSpan{{Length: 1}}, PositiveDeltas: []int64{1}}
	}
	return marshal(t, m)
}

func marshal(t *testing.T, m interface{ Marshal() ([]byte, error) }) []byte {
	t.Helper()
	b, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestLedgerOfEveryKind looks at what the account of a request says of each kind of entry, repeats among them, in the answer
// and in the metrics.
func TestLedgerOfEveryKind(t *testing.T) {
	t.Parallel()
	now := time.Now().UnixMilli()
	for _, protocol := range protocols() {
		t.Run(protocol.String(), func(t *testing.T) {
			s := system.Start(t, system.Options{})
			exemplar := marshal(t, &prompb.Exemplar{Labels: []prompb.Label{{Name: "trace_id", Value: "1"}}, Value: 1, Timestamp: now})
			request := rw.Request{Series: []rw.Series{
				{Labels: rw.New("__name__", "a").Labels, Samples: []rw.Sample{{TimeMs: now, Value: 1, StartMs: now - 1000}, {TimeMs: now + 1, Value: 2}}, Exemplars: [][]byte{exemplar, exemplar}},
				{Labels: rw.New("__name__", "b").Labels, Samples: []rw.Sample{{TimeMs: now, Value: 3}, {TimeMs: now, Value: 4}}, CreatedMs: now - 2000},
				{Labels: rw.New("__name__", "only_exemplars").Labels, Exemplars: [][]byte{exemplar}},
				{Labels: rw.New("__name__", "h").Labels, Histograms: [][]byte{histogram(t, protocol, now, 0), histogram(t, protocol, now+1, now-1)}},
			}}
			want := map[string]counts{"samples": {4, 3, 1}, "exemplars": {3, 2, 1}, "histograms": {2, 2, 0}}
			if protocol == rw.V1 {
				metadata := marshal(t, &prompb.MetricMetadata{Type: prompb.MetricMetadata_COUNTER, MetricFamilyName: "a", Help: "h"})
				request.Metadata = [][]byte{metadata, metadata}
				want["metadata"], want["startTimestamps"] = counts{2, 1, 1}, counts{}
			} else {
				// 2.0's exemplars refer to symbols.
				for i := range request.Series {
					for j := range request.Series[i].Exemplars {
						request.Series[i].Exemplars[j] = marshal(t, &writev2.Exemplar{LabelsRefs: []uint32{1, 2}, Value: 1, Timestamp: now})
					}
				}
				request.Series[0].Metadata = marshal(t, &writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, HelpRef: 1})
				request.Series[1].Metadata = []byte{} // says nothing
				// What a repeat says of its start is in force already.
				want["metadata"], want["startTimestamps"] = counts{1, 1, 0}, counts{4, 4, 0}
			}
			body := snappy.Encode(nil, request.Encode(protocol))
			status, ledger := writeJSON(t, s.URL, protocol, body)
			if status != http.StatusOK {
				t.Errorf("the JSON API answered %d, want 200", status)
			}
			checkLedger(t, ledger, want)
			for kind, name := range map[string]string{"samples": "samples", "histograms": "histograms", "exemplars": "exemplars", "metadata": "metadata", "startTimestamps": "start_timestamps"} {
				if got := metricValue(t, s.Registry, "tributary_ingest_received_total", "kind", name); got != float64(want[kind].received) {
					t.Errorf("%s received: %v, want %d", name, got, want[kind].received)
				}
				for outcome, n := range map[string]int{"stored": want[kind].stored, "duplicate": want[kind].duplicate, "rejected": 0, "deferred": 0} {
					if got := metricValue(t, s.Registry, "tributary_ingest_entries_total", "kind", name, "outcome", outcome); got != float64(n) {
						t.Errorf("%s %s: %v, want %d", name, outcome, got, n)
					}
				}
			}

			// The same once more is stored again, to no effect, and a repeat is written as well as what it repeats.
			a, err := rw.Post(t.Context(), s.WriteURL(), protocol.ContentType(), body)
			if err != nil {
				t.Fatal(err)
			}
			if want := map[rw.Protocol]string{rw.V1: "- - -", rw.V2: "4 2 3"}[protocol]; a.Status != http.StatusNoContent || a.Written() != want {
				t.Errorf("got %d %s, written %s; want 204, %s", a.Status, a.Text, a.Written(), want)
			}
		})
	}
}

// counts is what the ledger says of one kind.
type counts struct{ received, stored, duplicate int }

// writeJSON sends a message by the JSON API and returns its account.
func writeJSON(t *testing.T, url string, protocol rw.Protocol, body []byte) (status int, ledger map[string]map[string]string) {
	t.Helper()
	request := fmt.Sprintf(`{"messageType":"MESSAGE_TYPE_REMOTE_WRITE_V%d","encoding":"ENCODING_SNAPPY","payload":%q}`, protocol, base64.StdEncoding.EncodeToString(body))
	res, err := http.Post(url+"/api/tributary/v1/write", "application/json", strings.NewReader(request))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var answer struct {
		Ledger map[string]map[string]string
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, answer.Ledger
}

func checkLedger(t *testing.T, ledger map[string]map[string]string, want map[string]counts) {
	t.Helper()
	for kind, c := range want {
		got := ledger[kind]
		for name, n := range map[string]int{"received": c.received, "stored": c.stored, "duplicate": c.duplicate, "rejected": 0, "deferred": 0} {
			// 64-bit numbers are strings in this mapping, and zero may be left out.
			if text := got[name]; text != fmt.Sprint(n) && (n != 0 || text != "") {
				t.Errorf("%s %s: got %q, want %d", kind, name, text, n)
			}
		}
	}
}
