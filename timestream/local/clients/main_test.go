// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/local/faults"
	"github.com/tributary-project/tributary/timestream/local/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is timestream-local behind a listener of its own, with a note of which operations were called.
type server struct {
	*httptest.Server
	faults *faults.Injector

	mu    sync.Mutex
	calls map[string]int
}

func serve(t *testing.T) *server {
	t.Helper()
	cfg := local.DefaultConfig()
	cfg.Dir, cfg.DefaultDatabase, cfg.DefaultTable = t.TempDir(), "", ""
	db, err := local.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{faults: &faults.Injector{}, calls: map[string]int{}}
	api := wire.New(db, wire.Options{Faults: s.faults})
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		s.mu.Lock()
		s.calls[operation]++
		s.mu.Unlock()
		api.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		s.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// called says how often clients have called an operation.
func (s *server) called(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[operation]
}

// missing skips a test for want of a program, unless the gate runs, which has all of them.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// object is JSON as encoding/json reads it.
type object = map[string]any

// The two services, by the names that the clients give them.
const (
	write = "timestream-write"
	query = "timestream-query"
)

// caller is one client. Operations go by name; inputs and outputs are as the API's JSON has them.
type caller interface {
	// call returns the output of one call, or an *apiError for what the service answered instead.
	call(ctx context.Context, service, operation string, input object) (object, error)
	// pages runs a statement by the client's own paginator, with so many rows a page, and returns what that hands out.
	pages(ctx context.Context, statement string, rows int) ([]object, error)
}

// apiError is an error of the service as a client shows it. Members are those of its class, where the client has them.
type apiError struct {
	Code, Message string
	Members       object
}

func (e *apiError) Error() string { return e.Code + ": " + e.Message }

// at follows names and indexes into JSON; what is not there is nil.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(object)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

// list is at for an array.
func list(v any, path ...any) []any {
	l, _ := at(v, path...).([]any)
	return l
}

// columns renders ColumnInfo: `name type`, one for each.
func columns(page object) []string {
	var out []string
	for _, c := range list(page, "ColumnInfo") {
		out = append(out, column(c))
	}
	return out
}

func column(c any) string {
	name, _ := at(c, "Name").(string)
	return strings.TrimPrefix(name+" "+columnType(at(c, "Type")), " ")
}

func columnType(t any) string {
	if s, ok := at(t, "ScalarType").(string); ok && s != "" {
		return s
	}
	if e := at(t, "TimeSeriesMeasureValueColumnInfo"); e != nil {
		return "TIMESERIES(" + column(e) + ")"
	}
	if e := at(t, "ArrayColumnInfo"); e != nil {
		return "ARRAY(" + column(e) + ")"
	}
	var fields []string
	for _, f := range list(t, "RowColumnInfo") {
		fields = append(fields, column(f))
	}
	return "ROW(" + strings.Join(fields, ", ") + ")"
}

// rows renders the rows of pages, a line for each: values with bars between them.
func rows(pages ...object) []string {
	var out []string
	for _, p := range pages {
		for _, r := range list(p, "Rows") {
			out = append(out, strings.Join(data(r), " | "))
		}
	}
	return out
}

func data(row any) []string {
	var out []string
	for _, d := range list(row, "Data") {
		out = append(out, datum(d))
	}
	return out
}

func datum(d any) string {
	if s, ok := at(d, "ScalarValue").(string); ok {
		return s
	}
	if null, _ := at(d, "NullValue").(bool); null {
		return "NULL"
	}
	if r := at(d, "RowValue"); r != nil {
		return "(" + strings.Join(data(r), ", ") + ")"
	}
	var items []string
	if points, ok := at(d, "TimeSeriesValue").([]any); ok && points != nil {
		for _, p := range points {
			items = append(items, at(p, "Time").(string)+" "+datum(at(p, "Value")))
		}
		return "{" + strings.Join(items, ", ") + "}"
	}
	for _, e := range list(d, "ArrayValue") {
		items = append(items, datum(e))
	}
	return "[" + strings.Join(items, ", ") + "]"
}

// asAPI returns the service's error, or fails the test.
func asAPI(t *testing.T, err error) *apiError {
	t.Helper()
	var e *apiError
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an error of the service", err)
	}
	return e
}
