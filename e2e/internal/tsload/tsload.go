// SPDX-License-Identifier: Apache-2.0

// Package tsload makes WriteRecords requests as a scraped fleet of machines would cause them, signed and rendered to the byte
// before any clock runs, and sends them from several clients that each wait for an answer before the next request. It knows
// Timestream's wire protocol and nothing of Prometheus'; what stores the records is left to the caller.
package tsload

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// RecordsPerRequest is how many records a request has: the metrics of one target at one moment, as many as the service takes.
const RecordsPerRequest = 100

// Fleet is targets with 100 metrics each, scraped at the same distance in time. Values and times follow from target, metric
// and scrape, so any request can be made again.
type Fleet struct {
	Database, Table string
	Targets         int
	// Start is the moment of the first scrape, before the target's own offset within Step is added.
	Start time.Time
	Step  time.Duration
}

// Note writes down when the fleet began, Find reads it: the rest of a fleet follows from its other fields. Find tells whether there
// was something to read.
func (f Fleet) Note(file string) error {
	return os.WriteFile(file, strconv.AppendInt(nil, f.Start.UnixMilli(), 10), 0o600)
}

// Find is told of at Note.
func (f *Fleet) Find(file string) (bool, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	ms, err := strconv.ParseInt(string(b), 10, 64)
	f.Start = time.UnixMilli(ms)
	return err == nil, err
}

// Series is how many series the fleet has.
func (f Fleet) Series() int { return f.Targets * RecordsPerRequest }

// Time is when a target is scraped for the n-th time, in milliseconds since 1970. Prometheus aligns what comes a little late, so
// the times of nine targets in ten are Step apart to the millisecond.
func (f Fleet) Time(target, n int) int64 {
	offset := int64(mix(uint64(target)) % uint64(f.Step.Milliseconds()))
	if target%10 == 9 {
		offset += int64(mix(uint64(target)<<32|uint64(n)) % 40)
	}
	return f.Start.UnixMilli() + int64(n)*f.Step.Milliseconds() + offset
}

// mix spreads the bits of a number (SplitMix64's finish).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Value is what a metric of a target has at its n-th scrape. Of a hundred metrics 40 are counters of events, busy ones and slow
// ones; 20 counters that hardly ever move (most buckets of histograms); 10 sums of seconds, with all their digits; 15 sizes in bytes,
// in pages; 5 loads of two decimals; 5 ratios with all their digits; 5 that never change.
func Value(target, metric, n int) float64 {
	series := mix(uint64(target)<<16 | uint64(metric))
	noise := mix(series + uint64(n))
	rate := 1 + series%1000 // events between two scrapes
	switch {
	case metric < 40:
		if metric%2 == 0 {
			rate = 1 + series%20
		}
		return float64(series%1_000_000 + uint64(n)*rate + noise%rate)
	case metric < 60:
		return float64(series%1000 + uint64(n)/(50+series%200))
	case metric < 70:
		return float64(series%1_000_000+uint64(n)*rate+noise%rate) * 1e-3 / math.Pi
	case metric < 85:
		return float64(4096 * (10_000 + series%100_000 + noise%512))
	case metric < 90:
		return float64(noise%800) / 100
	case metric < 95:
		return float64(noise>>11) / (1 << 53)
	}
	return float64(series % 3)
}

// Metric is the name of a metric.
func Metric(metric int) string {
	switch {
	case metric < 40:
		return "app_events_" + strconv.Itoa(metric/4) + "_total"
	case metric < 60:
		return "app_request_duration_seconds_bucket"
	case metric < 70:
		return "app_busy_seconds_" + strconv.Itoa(metric) + "_total"
	case metric < 85:
		return "app_memory_" + strconv.Itoa(metric) + "_bytes"
	}
	return "app_gauge_" + strconv.Itoa(metric)
}

// own are the labels that a metric has besides its target's: two of four events, the bound of a bucket.
func own(metric int) (name, value string) {
	switch {
	case metric < 40:
		return "code", strconv.Itoa(200 + 100*(metric%4))
	case metric < 60:
		return "le", strconv.FormatFloat(0.005*float64(int(1)<<(metric-40)), 'g', -1, 64)
	}
	return "", ""
}

// AppendBody appends the JSON of the request that stores the n-th scrape of a target: what its records share is hoisted.
func (f Fleet) AppendBody(b []byte, target, n int) []byte {
	b = append(b, `{"DatabaseName":"`...)
	b = append(b, f.Database...)
	b = append(b, `","TableName":"`...)
	b = append(b, f.Table...)
	b = append(b, `","CommonAttributes":{"Dimensions":[{"Name":"cluster","Value":"eu-west-1-blue"},{"Name":"instance","Value":"`...)
	b = append(b, Instance(target)...)
	b = append(b, `"},{"Name":"job","Value":"`...)
	b = append(b, Job(target)...)
	b = append(b, `"},{"Name":"namespace","Value":"production"}],"Time":"`...)
	b = strconv.AppendInt(b, f.Time(target, n), 10)
	b = append(b, `"},"Records":[`...)
	for m := range RecordsPerRequest {
		if m > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"MeasureName":"`...)
		b = append(b, Metric(m)...)
		b = append(b, '"')
		if name, value := own(m); name != "" {
			b = append(b, `,"Dimensions":[{"Name":"`...)
			b = append(b, name...)
			b = append(b, `","Value":"`...)
			b = append(b, value...)
			b = append(b, `"}]`...)
		}
		b = append(b, `,"MeasureValue":"`...)
		b = strconv.AppendFloat(b, Value(target, m, n), 'f', -1, 64)
		b = append(b, `"}`...)
	}
	return append(b, "]}"...)
}

// Sample is one metric of one target at its n-th scrape.
type Sample struct{ Target, Metric, Scrape int }

// AppendSamples appends the JSON of a request that stores samples that have little in common, RecordsPerRequest of them at most.
func (f Fleet) AppendSamples(b []byte, samples []Sample) []byte {
	b = append(b, `{"DatabaseName":"`...)
	b = append(b, f.Database...)
	b = append(b, `","TableName":"`...)
	b = append(b, f.Table...)
	b = append(b, `","CommonAttributes":{"Dimensions":[{"Name":"cluster","Value":"eu-west-1-blue"},{"Name":"namespace","Value":"production"}]},"Records":[`...)
	for i, s := range samples {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"MeasureName":"`...)
		b = append(b, Metric(s.Metric)...)
		b = append(b, `","Time":"`...)
		b = strconv.AppendInt(b, f.Time(s.Target, s.Scrape), 10)
		b = append(b, `","Dimensions":[{"Name":"instance","Value":"`...)
		b = append(b, Instance(s.Target)...)
		b = append(b, `"},{"Name":"job","Value":"`...)
		b = append(b, Job(s.Target)...)
		if name, value := own(s.Metric); name != "" {
			b = append(b, `"},{"Name":"`...)
			b = append(b, name...)
			b = append(b, `","Value":"`...)
			b = append(b, value...)
		}
		b = append(b, `"}],"MeasureValue":"`...)
		b = strconv.AppendFloat(b, Value(s.Target, s.Metric, s.Scrape), 'f', -1, 64)
		b = append(b, `"}`...)
	}
	return append(b, "]}"...)
}

// Instance is the label instance of a target.
func Instance(target int) string { return fmt.Sprintf("10.32.%d.%d:8080", target/250, target%250) }

// Job is the label job of a target.
func Job(target int) string { return fmt.Sprintf("shop/service-%02d", target%20) }

// Render makes the bytes of an HTTP request to an address that carries a body, signed as the SDK signs.
func Render(ctx context.Context, address string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", "Timestream_20181101.WriteRecords")
	sum := sha256.Sum256(body)
	err = v4.NewSigner().SignHTTP(ctx, aws.Credentials{AccessKeyID: "bench", SecretAccessKey: "bench"}, req, hex.EncodeToString(sum[:]), "timestream", "us-east-1", time.Now())
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := req.Write(&out); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
