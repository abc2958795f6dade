// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/allinone"
	"github.com/tributary-project/tributary/e2e/internal/promtest"
	"github.com/tributary-project/tributary/e2e/internal/rw"
	"github.com/tributary-project/tributary/e2e/internal/system"
)

// await waits until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("after two minutes still not: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// rawWrite opens a connection and sends the head of a write request of this length and what has come of its body.
func rawWrite(t *testing.T, url string, length int, body []byte) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Encoding: snappy\r\nContent-Length: %d\r\n\r\n%s", rw.V2.ContentType(), length, body)
	return conn.(*net.TCPConn)
}

func readAnswer(t *testing.T, conn net.Conn) rw.Answer {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return rw.Answer{Status: res.StatusCode, Header: res.Header, Text: string(text)}
}

// TestSlowAndBrokenBodies: bodies that trickle, stop or break off hold their place only until the time for a write is
// over; while they hold all places others are told to come again, and afterwards all is as before.
func TestSlowAndBrokenBodies(t *testing.T) {
	t.Parallel()
	// All places have to be taken, and another one refused, within the limit.
	const places, limit = 4, 10 * time.Second
	s := system.Start(t, system.Options{App: func(c *allinone.Config) {
		c.Gateway.MaxInFlightRequests, c.Gateway.WriteTimeout = places, limit
	}})
	p := probe{t, s.URL}
	now := time.Now().UnixMilli()
	good := rw.New("__name__", "good").At(now, 1)
	body := snappy.Encode(nil, rw.Request{Series: []rw.Series{good}}.Encode(rw.V2))
	gauge := func(name string) float64 { return metricValue(t, s.Registry, "tributary_gateway_"+name) }
	idle := func() bool { return gauge("inflight_requests") == 0 && gauge("inflight_bytes") == 0 }

	var slow []*net.TCPConn
	for range places {
		slow = append(slow, rawWrite(t, s.URL, len(body), body[:1]))
	}
	await(t, "all places taken", func() bool { return gauge("inflight_requests") == places })
	a := p.write(rw.V2, good)
	if a.Status != http.StatusServiceUnavailable || a.Written() != "0 0 0" || !strings.Contains(a.Text, "4 requests in flight") || !strings.Contains(a.Text, "--web.max-inflight-requests") {
		t.Errorf("while all places are taken: got %d, written %s, %q; want 503", a.Status, a.Written(), a.Text)
	}
	if after, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || after < 1 || after > 5 {
		t.Errorf("Retry-After: %q, want 1 to 5", a.Header.Get("Retry-After"))
	}
	// Half of them go on sending, a byte at a time.
	stop := make(chan struct{})
	defer close(stop)
	for _, conn := range slow[:places/2] {
		go func() {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for i := 1; i < len(body)-1; i++ {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				if _, err := conn.Write(body[i : i+1]); err != nil {
					return
				}
			}
		}()
	}
	for _, conn := range slow {
		a := readAnswer(t, conn)
		if a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" || !strings.Contains(a.Text, "did not come within 10s (--write.timeout)") {
			t.Errorf("a slow body: got %d, Retry-After %q, %q; want 503 and the flag", a.Status, a.Header.Get("Retry-After"), a.Text)
		}
	}
	await(t, "nothing held", idle)

	broken := rawWrite(t, s.URL, 1000, body)
	if err := broken.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	a = readAnswer(t, broken)
	if want := fmt.Sprintf("after %d bytes of 1000", len(body)); a.Status != http.StatusBadRequest || a.Written() != "0 0 0" || !strings.Contains(a.Text, want) {
		t.Errorf("a body that breaks off: got %d, written %s, %q; want 400 and %q", a.Status, a.Written(), a.Text, want)
	}
	gone := rawWrite(t, s.URL, 1000, body)
	await(t, "it came in", func() bool { return gauge("inflight_requests") == 1 })
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "nothing held", idle)

	await(t, "a good request is taken", func() bool { return p.write(rw.V2, good).Status == http.StatusNoContent })
	p.same(p.read(eq("__name__", "good")), good)
	await(t, "nothing held", idle)
}

// TestRanges reads with ranges that make sense and with others: bounds are inclusive milliseconds, and a range that holds
// nothing answers with nothing.
func TestRanges(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{})
	p := probe{t, s.URL}
	now := time.Now().UnixMilli()
	series := func(from, to int) []rw.Series {
		plain, special := rw.New("__name__", "plain"), rw.New("__name__", "special:a-b")
		for i := from; i <= to; i++ {
			plain, special = plain.At(now+int64(i), float64(i)), special.At(now+int64(i), math.NaN())
		}
		return []rw.Series{plain, special}
	}
	epoch := rw.New("__name__", "epoch").At(0, 1).At(1, math.Inf(-1)).At(now, 3)
	for _, protocol := range protocols() { // the second time stores nothing new
		p.accept(protocol, append(series(0, 9), epoch)...)
	}
	for _, c := range []struct {
		name       string
		start, end int64
		want       []rw.Series
	}{
		{"all there is", math.MinInt64, math.MaxInt64, append(series(0, 9), epoch)},
		{"from the epoch", 0, math.MaxInt64, append(series(0, 9), epoch)},
		{"the epoch alone", 0, 0, []rw.Series{rw.New("__name__", "epoch").At(0, 1)}},
		{"up to after the epoch", math.MinInt64, 1, []rw.Series{rw.New("__name__", "epoch").At(0, 1).At(1, math.Inf(-1))}},
		{"one millisecond", now + 3, now + 3, series(3, 3)},
		{"both ends", now + 2, now + 5, series(2, 5)},
		{"open at the end", now + 7, math.MaxInt64, series(7, 9)},
		{"inverted", now + 5, now + 2, nil},
		{"inverted by one", now + 3, now + 2, nil},
		{"inverted wholly", math.MaxInt64, math.MinInt64, nil},
		{"before the epoch", math.MinInt64, -1, nil},
		{"the first millisecond", math.MinInt64, math.MinInt64, nil},
		{"the last millisecond", math.MaxInt64, math.MaxInt64, nil},
		{"after all", now + 10, math.MaxInt64, nil},
		{"the end of what nanoseconds hold", 9_223_372_036_854, 9_223_372_036_854, nil},
		{"after that", 9_223_372_036_855, 9_223_372_036_856, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := probe{t, s.URL}
			p.same(p.readRange(c.start, c.end, re("__name__", ".+")), c.want...)
		})
	}
	// In one request each query has its own answer, empty ones too.
	queries := []*prompb.Query{
		{StartTimestampMs: now, EndTimestampMs: now, Matchers: []*prompb.LabelMatcher{eq("__name__", "plain")}},
		{StartTimestampMs: now + 1, EndTimestampMs: now, Matchers: []*prompb.LabelMatcher{eq("__name__", "plain")}},
		{StartTimestampMs: now + 9, EndTimestampMs: now + 99, Matchers: []*prompb.LabelMatcher{eq("__name__", "special:a-b")}},
		{StartTimestampMs: now, EndTimestampMs: now, Matchers: []*prompb.LabelMatcher{eq("__name__", "none")}},
		{StartTimestampMs: now, EndTimestampMs: now, Matchers: []*prompb.LabelMatcher{eq("__name__", "plain")}},
	}
	results, err := promtest.Read(t.Context(), s.ReadURL(), queries...)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]rw.Series{series(0, 0)[:1], nil, series(9, 9)[1:], nil, series(0, 0)[:1]} {
		p.same(readLines(t, results[i]), want...)
	}
	if results, err = promtest.Read(t.Context(), s.ReadURL()); err != nil || len(results) != 0 {
		t.Errorf("no queries: got %d results, %v", len(results), err)
	}
}

// TestManyBadRequestsAtOnce: bad requests in parallel do not disturb each other or the good ones between them.
func TestManyBadRequestsAtOnce(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{})
	p := probe{t, s.URL}
	now := time.Now().UnixMilli()
	done := make(chan error)
	const senders = 16
	for i := range senders {
		go func() {
			done <- func() error {
				for n := range 20 {
					var a rw.Answer
					var err error
					want := http.StatusBadRequest
					switch n % 4 {
					case 0:
						a, err = rw.Post(t.Context(), s.WriteURL(), rw.V1.ContentType(), bytes.Repeat([]byte{0xff}, 1000))
					case 1:
						a, err = rw.Write(t.Context(), s.WriteURL(), rw.V1, rw.Raw("a", "b").At(now, 1))
					case 2:
						a, err = rw.Write(t.Context(), s.WriteURL(), rw.V2, rw.Raw("__name__", "x", "a", "\xff").At(now, 1))
					case 3:
						want = http.StatusNoContent
						a, err = rw.Write(t.Context(), s.WriteURL(), rw.V2, rw.New("__name__", "good", "sender", strconv.Itoa(i)).At(now+int64(n), 1))
					}
					if err == nil && a.Status != want {
						err = fmt.Errorf("request %d: got %d, want %d: %s", n, a.Status, want, a.Text)
					}
					if err != nil {
						return err
					}
				}
				return nil
			}()
		}()
	}
	for range senders {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := len(p.read(eq("__name__", "good"))); got != senders*5 {
		t.Errorf("got %d samples, want %d", got, senders*5)
	}
}
