// SPDX-License-Identifier: Apache-2.0

// Package standin is a Timestream endpoint that stores nothing: it counts the records of each WriteRecords request and
// answers as the service would. Benchmarks put it behind ingest so that what they measure is ours; a test can
// switch it to fail.
package standin

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// Counter is the endpoint.
type Counter struct {
	// Latency is how long each WriteRecords takes.
	Latency time.Duration

	records, requests, bodyBytes atomic.Int64
	failure                      atomic.Pointer[failure]
}

type failure struct {
	status        int
	class, detail string
}

// Records is how many records were accepted.
func (c *Counter) Records() int64 { return c.records.Load() }

// Requests is how many WriteRecords requests were accepted.
func (c *Counter) Requests() int64 { return c.requests.Load() }

// BodyBytes is how large their bodies were.
func (c *Counter) BodyBytes() int64 { return c.bodyBytes.Load() }

// Fail makes every WriteRecords answer with this error until Recover.
func (c *Counter) Fail(status int, class, message string) {
	c.failure.Store(&failure{status, class, message})
}

// Recover ends a Fail.
func (c *Counter) Recover() { c.failure.Store(nil) }

// ServeHTTP implements http.Handler. The catalogue cannot be read here: Query is denied, as it is for a writer whose
// policy allows no more than writing.
func (c *Counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	switch operation {
	case "DescribeEndpoints":
		fmt.Fprintf(w, `{"Endpoints":[{"Address":"http://%s","CachePeriodInMinutes":1440}]}`, r.Host)
		return
	case "WriteRecords":
	default:
		fail(w, http.StatusForbidden, "AccessDeniedException", "this endpoint only counts records")
		return
	}
	if c.Latency > 0 {
		select {
		case <-time.After(c.Latency):
		case <-r.Context().Done():
			return
		}
	}
	if f := c.failure.Load(); f != nil {
		fail(w, f.status, f.class, f.detail)
		return
	}
	n := CountRecords(body)
	c.records.Add(n)
	c.requests.Add(1)
	c.bodyBytes.Add(int64(len(body)))
	fmt.Fprintf(w, `{"RecordsIngested":{"Total":%d,"MemoryStore":%d,"MagneticStore":0}}`, n, n)
}

func fail(w http.ResponseWriter, status int, class, message string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"__type":"com.amazonaws.timestream.v20181101#%s","message":%q}`, class, message)
}

// CountRecords returns how many elements the Records array of a WriteRecords body has.
func CountRecords(body []byte) int64 {
	start := bytes.Index(body, []byte(`"Records":[`))
	if start < 0 {
		return 0
	}
	var n int64
	depth := 0
	for i := start + len(`"Records":[`); i < len(body); i++ {
		switch body[i] {
		case '"': // skip the string
			for i++; i < len(body) && body[i] != '"'; i++ {
				if body[i] == '\\' {
					i++
				}
			}
		case '{':
			if depth == 0 {
				n++
			}
			depth++
		case '}':
			depth--
		case '[':
			depth++
		case ']':
			if depth == 0 {
				return n
			}
			depth--
		}
	}
	return n
}
