// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
)

// history is samples of the past, whose values follow from series and time.
type history struct {
	name   string // of the metric
	group  string // the value of the label cluster
	series int
	start  time.Time
	step   time.Duration
	points int
}

// labels are those of series i, nine with the metric's name, sorted. Those before the label pod are the same for a whole group, but
// for job, of which there are a hundred; block is the first of all, and has a number that can be replaced in a stored answer.
func (h history) labels(i int) []prompb.Label {
	return []prompb.Label{
		{Name: "__name__", Value: h.name},
		{Name: "block", Value: blockMarker},
		{Name: "cluster", Value: h.group},
		{Name: "container", Value: fmt.Sprintf("service-%02d", i%100)},
		{Name: "instance", Value: fmt.Sprintf("10.32.%d.%d:8080", i%1000/250, i%250)},
		{Name: "job", Value: fmt.Sprintf("shop/service-%02d", i%100)},
		{Name: "namespace", Value: "shop"},
		{Name: "node", Value: fmt.Sprintf("ip-10-0-0-%d.eu-west-1.compute.internal", i%50)},
		{Name: "pod", Value: podName(i)},
	}
}

// blockMarker is the value of the label block.
const blockMarker = "block-000"

func podName(i int) string { return fmt.Sprintf("service-%02d-5d8c7b6f9-%06d", i%100, i) }

// value is that of series i at a time: of every second series a whole number that grows, of the others a fraction that grows and
// takes all its digits to write.
func (h history) value(i int, ms int64) float64 {
	passed := float64(ms-h.start.UnixMilli()) / 1000
	if i%2 == 0 {
		return math.Floor(1000*float64(i) + passed*float64(1+i%17))
	}
	return float64(i) + passed/math.Pi
}

func (h history) end() time.Time { return h.start.Add(time.Duration(h.points-1) * h.step) }

// A request holds some samples of some series. A series is never so far ahead of another that a Prometheus would call the other's
// samples too old, which is an hour.
const (
	samplesPerWrite = 5000
	pointsPerWrite  = 200
	writers         = 4
)

// send writes all of it by remote write 1.0, from the past on.
func (h history) send(ctx context.Context, url string) error {
	width := max(1, samplesPerWrite/min(h.points, pointsPerWrite))
	transport := &http.Transport{MaxIdleConnsPerHost: writers}
	defer transport.CloseIdleConnections()
	client := &http.Client{Timeout: time.Minute, Transport: transport}
	errs := make([]error, writers)
	for from := 0; from < h.points; from += pointsPerWrite {
		var running sync.WaitGroup
		for w := range writers {
			running.Go(func() {
				for first := w * width; first < h.series && errs[w] == nil; first += writers * width {
					errs[w] = post(ctx, client, url, h.request(first, min(first+width, h.series), from, min(from+pointsPerWrite, h.points)))
				}
			})
		}
		running.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	return nil
}

func (h history) request(first, end, from, to int) *prompb.WriteRequest {
	req := &prompb.WriteRequest{}
	for i := first; i < end; i++ {
		s := prompb.TimeSeries{Labels: h.labels(i), Samples: make([]prompb.Sample, 0, to-from)}
		for n := from; n < to; n++ {
			ms := h.start.Add(time.Duration(n) * h.step).UnixMilli()
			s.Samples = append(s.Samples, prompb.Sample{Timestamp: ms, Value: h.value(i, ms)})
		}
		req.Timeseries = append(req.Timeseries, s)
	}
	return req
}

// post sends a request until it is taken.
func post(ctx context.Context, client *http.Client, url string, write *prompb.WriteRequest) error {
	body, err := write.Marshal()
	if err != nil {
		return err
	}
	body = snappy.Encode(nil, body)
	for end := time.Now().Add(time.Minute); ; {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/x-protobuf")
		req.Header.Set("Content-Encoding", "snappy")
		req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		_ = res.Body.Close()
		switch {
		case res.StatusCode/100 == 2:
			return nil
		case res.StatusCode != http.StatusServiceUnavailable || time.Now().After(end):
			return fmt.Errorf("%s: %s: %s", url, res.Status, text)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}
