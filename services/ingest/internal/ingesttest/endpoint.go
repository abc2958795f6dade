// SPDX-License-Identifier: Apache-2.0

// Package ingesttest is what the tests of ingest stand on: a server that imitates Timestream's write and query API for the
// real AWS SDK, and write messages like those that senders make. It is imported by tests only.
package ingesttest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"

	"github.com/tributary-project/tributary/timestream/client"
)

// Dimension is one of a record.
type Dimension struct{ Name, Value string }

// MeasureValue is one of a multi-measure record.
type MeasureValue struct{ Name, Value, Type string }

// Record is a record as the wire has it.
type Record struct {
	Dimensions                                  []Dimension
	MeasureName, MeasureValue, MeasureValueType string
	Time, TimeUnit                              string
	MeasureValues                               []MeasureValue
	Version                                     int64
}

// Key is the record's identity, as Timestream has it.
func (r Record) Key() string {
	dims := map[string]string{}
	for _, d := range r.Dimensions {
		dims[d.Name] = d.Value
	}
	text, _ := json.Marshal(dims) // sorted by name
	return r.MeasureName + " " + string(text) + " " + r.Time
}

// Value is what the record stores.
func (r Record) Value() string {
	if r.MeasureValueType == "MULTI" {
		return fmt.Sprint(r.MeasureValues)
	}
	return r.MeasureValue
}

// WriteCall is one WriteRecords request.
type WriteCall struct {
	DatabaseName, TableName string
	CommonAttributes        Record
	Records                 []Record
}

// Expand merges the common attributes into the records. The error is one of those for which Timestream refuses the whole
// request, and more: a member in both places, whose winner is not documented.
func (c WriteCall) Expand() ([]Record, error) {
	if n := len(c.Records); n < 1 || n > 100 {
		return nil, fmt.Errorf("%d records", n)
	}
	var out []Record
	common := c.CommonAttributes
	for i, r := range c.Records {
		both := func(what string, a, b bool) error {
			if a && b {
				return fmt.Errorf("record %d: %s is in the common attributes too", i, what)
			}
			return nil
		}
		for _, err := range []error{
			both("MeasureName", r.MeasureName != "", common.MeasureName != ""),
			both("MeasureValue", r.MeasureValue != "", common.MeasureValue != ""),
			both("MeasureValueType", r.MeasureValueType != "", common.MeasureValueType != ""),
			both("Time", r.Time != "", common.Time != ""),
			both("TimeUnit", r.TimeUnit != "", common.TimeUnit != ""),
		} {
			if err != nil {
				return nil, err
			}
		}
		names := map[string]bool{}
		r.Dimensions = append(append([]Dimension(nil), common.Dimensions...), r.Dimensions...)
		for _, d := range r.Dimensions {
			if names[d.Name] {
				return nil, fmt.Errorf("record %d: dimension %s twice", i, d.Name)
			}
			names[d.Name] = true
		}
		r.MeasureName += common.MeasureName
		r.MeasureValue += common.MeasureValue
		r.MeasureValueType += common.MeasureValueType
		if r.MeasureValueType == "" {
			r.MeasureValueType = "DOUBLE"
		}
		r.Time += common.Time
		r.TimeUnit += common.TimeUnit
		if r.TimeUnit == "" {
			r.TimeUnit = "MILLISECONDS"
		}
		switch {
		case len(r.Dimensions) == 0:
			return nil, fmt.Errorf("record %d: at least one dimension is required for a record", i)
		case r.MeasureName == "" || r.Time == "" || r.Version != 0 || common.Version != 0:
			return nil, fmt.Errorf("record %d: measure name, time or version: %+v", i, r)
		case r.TimeUnit != "MILLISECONDS" && r.TimeUnit != "NANOSECONDS":
			return nil, fmt.Errorf("record %d: unit %s", i, r.TimeUnit)
		}
		if r.MeasureValueType == "MULTI" {
			if len(r.MeasureValues) == 0 || r.MeasureValue != "" {
				return nil, fmt.Errorf("record %d: MULTI without values, or with a single one", i)
			}
		} else if _, err := strconv.ParseFloat(r.MeasureValue, 64); err != nil || len(r.MeasureValues) != 0 {
			return nil, fmt.Errorf("record %d: invalid value %s for double measure value type", i, r.MeasureValue)
		}
		out = append(out, r)
	}
	return out, nil
}

// Rejected is an entry of a RejectedRecordsException.
type Rejected struct {
	RecordIndex int
	Reason      string
}

// Reply is an answer of the endpoint. The zero value is what it would have answered by itself.
type Reply struct {
	// Class is that of an error, such as ThrottlingException; Status is its HTTP status.
	Class   string
	Status  int
	Message string
	// Rejected go with RejectedRecordsException, in addition to what the endpoint rejects by itself; the records that are
	// not listed are stored.
	Rejected []Rejected
	// Late is how many records the endpoint says went to the magnetic store.
	Late int
	// Hang holds the answer back until the client goes away.
	Hang bool
	// Drop closes the connection.
	Drop bool
}

// NoClass is the Class of an error that does not say its class, as proxies answer.
const NoClass = "-"

// Conflict is the service's text for another value at a stored time.
const Conflict = "A record already exists with the same time, dimensions, measure name, and record version. A higher record version must be specified in order to update the measure value. Specifying record version is supported by the latest SDKs."

// Endpoint imitates Timestream. It stores records, refuses what Timestream refuses of shape and conflicts, and is told
// by the tests to fail.
type Endpoint struct {
	URL string
	tb  testing.TB

	mu     sync.Mutex
	stored map[string]Record
	calls  []WriteCall
	// onWrite and onQuery decide an answer; nil or a zero Reply leaves it to the endpoint.
	onWrite func(WriteCall, []Record) Reply
	onQuery func(statement string) (columns []string, rows [][]string, r Reply)
	queries []string
}

// NewEndpoint starts an endpoint that ends with the test.
func NewEndpoint(tb testing.TB) *Endpoint {
	e := &Endpoint{tb: tb, stored: map[string]Record{}}
	srv := httptest.NewServer(e)
	tb.Cleanup(srv.Close)
	e.URL = srv.URL
	return e
}

// OnWrite sets who decides over writes.
func (e *Endpoint) OnWrite(f func(WriteCall, []Record) Reply) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.onWrite = f
}

// OnQuery sets who answers queries: rows of VARCHAR.
func (e *Endpoint) OnQuery(f func(statement string) (columns []string, rows [][]string, r Reply)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.onQuery = f
}

// Calls returns the WriteRecords requests so far.
func (e *Endpoint) Calls() []WriteCall {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]WriteCall(nil), e.calls...)
}

// Queries returns the statements so far.
func (e *Endpoint) Queries() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.queries...)
}

// Stored returns what is stored, by key.
func (e *Endpoint) Stored() map[string]Record {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := map[string]Record{}
	for k, r := range e.stored {
		out[k] = r
	}
	return out
}

// ServeHTTP implements http.Handler.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the client went away
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	switch _, op, _ := strings.Cut(req.Header.Get("X-Amz-Target"), "."); op {
	case "WriteRecords":
		e.write(w, req, body)
	case "Query":
		e.query(w, req, body)
	default:
		e.tb.Errorf("operation %q", op)
		w.WriteHeader(http.StatusNotFound)
	}
}

func (e *Endpoint) write(w http.ResponseWriter, req *http.Request, body []byte) {
	var c WriteCall
	if err := json.Unmarshal(body, &c); err != nil {
		e.tb.Errorf("body: %v", err)
	}
	records, err := c.Expand()
	e.mu.Lock()
	e.calls = append(e.calls, c)
	decide := e.onWrite
	e.mu.Unlock()
	var r Reply
	if decide != nil {
		r = decide(c, records)
	}
	if r.Class == "" && err != nil {
		e.tb.Errorf("a request that Timestream refuses: %v", err)
		r = Reply{Class: "ValidationException", Status: 400, Message: err.Error()}
	}
	if r.Hang || r.Drop || r.Class != "" && r.Class != "RejectedRecordsException" {
		answer(w, req, r, nil)
		return
	}
	refused := map[int]string{}
	for _, x := range r.Rejected {
		refused[x.RecordIndex] = x.Reason
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	seen := map[string]bool{}
	for i, x := range records {
		if seen[x.Key()] {
			e.tb.Errorf("two records of one request have the same identity, and what the service makes of that is not known: %s", x.Key())
		}
		seen[x.Key()] = true
		if _, no := refused[i]; no {
			continue
		}
		if old, have := e.stored[x.Key()]; have && old.Value() != x.Value() {
			r.Rejected = append(r.Rejected, Rejected{i, Conflict})
			continue
		}
		e.stored[x.Key()] = x
	}
	if len(r.Rejected) > 0 {
		r.Class, r.Status, r.Message = "RejectedRecordsException", 419, "One or more records have been rejected. See RejectedRecords for details."
		answer(w, req, r, map[string]any{"RejectedRecords": r.Rejected})
		return
	}
	n := len(c.Records)
	answer(w, req, r, map[string]any{"RecordsIngested": map[string]int{"Total": n, "MemoryStore": n - r.Late, "MagneticStore": r.Late}})
}

func (e *Endpoint) query(w http.ResponseWriter, req *http.Request, body []byte) {
	var q struct{ QueryString string }
	if err := json.Unmarshal(body, &q); err != nil {
		e.tb.Errorf("body: %v", err)
	}
	e.mu.Lock()
	e.queries = append(e.queries, q.QueryString)
	decide := e.onQuery
	e.mu.Unlock()
	if decide == nil {
		answer(w, req, Reply{Class: "ValidationException", Status: 400, Message: "The table 't' does not exist in database 'd' at line 1:1"}, nil)
		return
	}
	columns, rows, r := decide(q.QueryString)
	info, data := []any{}, []any{}
	for _, c := range columns {
		info = append(info, map[string]any{"Name": c, "Type": map[string]string{"ScalarType": "VARCHAR"}})
	}
	for _, row := range rows {
		datums := []any{}
		for _, v := range row {
			datums = append(datums, map[string]string{"ScalarValue": v})
		}
		data = append(data, map[string]any{"Data": datums})
	}
	answer(w, req, r, map[string]any{"QueryId": "Q", "ColumnInfo": info, "Rows": data})
}

func answer(w http.ResponseWriter, req *http.Request, r Reply, ok map[string]any) {
	switch {
	case r.Hang:
		<-req.Context().Done()
		return
	case r.Drop:
		panic(http.ErrAbortHandler)
	case r.Class != "":
		if ok == nil {
			ok = map[string]any{}
		}
		if r.Class != NoClass {
			ok["__type"], ok["message"] = "com.amazonaws.timestream.v20181101#"+r.Class, r.Message
		}
		w.WriteHeader(r.Status)
	}
	_ = json.NewEncoder(w).Encode(ok)
}

// Writer returns the real AWS client of the endpoint.
func (e *Endpoint) Writer() *timestreamwrite.Client { return Writer(e.tb, e.URL) }

// BodyWriter returns what ingest writes with, of the endpoint.
func (e *Endpoint) BodyWriter() *client.RecordsWriter {
	return client.NewRecordsWriter(e.Writer(), time.Now)
}

// Querier returns the real AWS client of the endpoint.
func (e *Endpoint) Querier() *timestreamquery.Client {
	q, err := client.NewQuery(context.Background(), Config(e.URL))
	if err != nil {
		e.tb.Fatal(err)
	}
	return q
}

// Config is that of clients of a server at url.
func Config(url string) client.Config {
	c := client.DefaultConfig()
	c.Endpoint, c.LocalCredentials = url, true
	return c
}

// Writer returns the real AWS client of a server at url.
func Writer(tb testing.TB, url string) *timestreamwrite.Client {
	w, err := client.NewWrite(context.Background(), Config(url))
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

// NewCounter starts a server that takes every write unread, and ends with the test.
func NewCounter(tb testing.TB) (url string) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		_, _ = io.WriteString(w, `{"RecordsIngested":{"Total":100,"MemoryStore":100,"MagneticStore":0}}`)
	}))
	tb.Cleanup(srv.Close)
	return srv.URL
}
