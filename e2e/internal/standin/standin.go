// SPDX-License-Identifier: Apache-2.0

// Package standin has two Timestream endpoints that benchmarks put behind ingest and query, so that what they measure is ours;
// both take as little of the machine as they can. Counter stores nothing: it counts the records of each WriteRecords request and
// answers as the service would; only while somebody watches are requests decoded, and a test can switch it to fail. Results
// answers queries from memory as another endpoint answered them once.
package standin

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Counter is the endpoint.
type Counter struct {
	// Latency is how long each WriteRecords takes.
	Latency time.Duration

	records, requests, bodyBytes atomic.Int64
	failure                      atomic.Pointer[failure]
	watch                        atomic.Pointer[func(*Call, error)]
	buffers                      sync.Pool // of *bytes.Buffer
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

// Watch makes f see every request that is accepted from now on, decoded, or why it cannot be; nil ends it. Calls of f overlap.
func (c *Counter) Watch(f func(*Call, error)) {
	if f == nil {
		c.watch.Store(nil)
		return
	}
	c.watch.Store(&f)
}

// ServeHTTP implements http.Handler. The catalogue cannot be read here: Query is denied, as it is for a writer whose
// policy allows no more than writing.
func (c *Counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	buffer, _ := c.buffers.Get().(*bytes.Buffer)
	if buffer == nil {
		buffer = new(bytes.Buffer)
	}
	defer c.buffers.Put(buffer)
	buffer.Reset()
	if _, err := buffer.ReadFrom(io.LimitReader(r.Body, maxBody)); err != nil {
		return
	}
	body := buffer.Bytes()
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
	if watch := c.watch.Load(); watch != nil {
		(*watch)(Decode(body))
	}
	c.records.Add(n)
	c.requests.Add(1)
	c.bodyBytes.Add(int64(len(body)))
	answer := append(make([]byte, 0, 96), `{"RecordsIngested":{"Total":`...)
	answer = append(strconv.AppendInt(answer, n, 10), `,"MemoryStore":`...)
	answer = append(strconv.AppendInt(answer, n, 10), `,"MagneticStore":0}}`...)
	_, _ = w.Write(answer)
}

// maxBody is how much of a body is read: a request of 100 records of the largest size is below it.
const maxBody = 4 << 20

func fail(w http.ResponseWriter, status int, class, message string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"__type":"com.amazonaws.timestream.v20181101#%s","message":%q}`, class, message)
}

// CountRecords returns how many elements the Records array of a WriteRecords body has, by the keys of their values. Quotes in
// strings are escaped, so no string is taken for a key. Every record must have a value of its own and there must be no space
// before a colon, as in all that the SDKs write.
func CountRecords(body []byte) int64 {
	start := bytes.Index(body, []byte(`"Records":[`))
	if start < 0 {
		return 0
	}
	// The key is MeasureValue or MeasureValues. It is looked for without its first quote, for quotes are everywhere.
	measureValue := []byte("MeasureValue")
	var n int64
	for rest := body[start:]; ; {
		i := bytes.Index(rest, measureValue)
		if i < 0 {
			return n
		}
		rest = rest[i+len(measureValue):]
		if bytes.HasPrefix(rest, []byte(`":`)) || bytes.HasPrefix(rest, []byte(`s":`)) {
			n++
		}
	}
}
