// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tributary-project/tributary/services/query/internal/querytest"
	"github.com/tributary-project/tributary/timestream/client"
	"github.com/tributary-project/tributary/timestream/result"
)

// ways are the clients by which rows are read over HTTP: as pages that are left as they came, and as the SDK's values.
var ways = map[string]func(*timestreamquery.Client) Client{
	"pages": func(c *timestreamquery.Client) Client { return client.NewQuerier(c) },
	"SDK":   func(c *timestreamquery.Client) Client { return c },
}

// newClient returns the client of a way; without one by that name the SDK's own.
func newClient(way string, c *timestreamquery.Client) Client {
	if make, ok := ways[way]; ok {
		return make(c)
	}
	return c
}

var twoScalars = []result.Kind{result.Scalar, result.Scalar}

func TestRowsReadsEveryPage(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			b := backend(10)
			b.PageRows, b.EmptyPages = 7, emptyPages+2
			r := newRunner(way(querytest.Client(t, b)), 0, io.Discard)
			var got []string
			st, err := r.Rows(t.Context(), "plain", statement, twoScalars, func(row result.Row) error {
				got = append(got, fmt.Sprintf("%s %s", row[0].Text, row[1].Text))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for i := range 10 {
				for ts := range 3 {
					want = append(want, fmt.Sprintf("1970-01-01 00:00:0%d.000000000 %d.0", ts, i))
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %v", got)
			}
			if pages := int64(5 + emptyPages + 2); st != (Stats{Pages: pages, MeteredBytes: 3000}) || testutil.ToFloat64(r.pages) != float64(pages) || testutil.ToFloat64(r.metered) != 3000 {
				t.Errorf("got %+v, want %d pages and 3000 bytes", st, pages)
			}
			if c := b.Cancelled(); len(c) != 0 {
				t.Errorf("a query that ended was cancelled: %v", c)
			}
		})
	}
}

// standIn serves pages as the service writes them: rows are the elements of each page's Rows.
type standIn struct {
	pages []string
	delay time.Duration
	// before is called before page n is answered; what it answers itself it returns true for.
	before func(n int, w http.ResponseWriter) bool

	mu        sync.Mutex
	cancelled []string
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct{ NextToken, QueryId string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		querytest.WriteError(w, err)
		return
	}
	if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".CancelQuery") {
		s.mu.Lock()
		s.cancelled = append(s.cancelled, in.QueryId)
		s.mu.Unlock()
		_, _ = io.WriteString(w, "{}")
		return
	}
	n, _ := strconv.Atoi(in.NextToken)
	time.Sleep(s.delay)
	if s.before != nil && s.before(n, w) {
		return
	}
	body := s.body(n)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

func (s *standIn) body(n int) []byte {
	token := ""
	if n+1 < len(s.pages) {
		token = fmt.Sprintf(`"NextToken":"%d",`, n+1)
	}
	return fmt.Appendf(nil, `{"ColumnInfo":[{"Name":"a","Type":{"ScalarType":"VARCHAR"}}],%s"QueryId":"Q","QueryStatus":{"CumulativeBytesMetered":%d,"CumulativeBytesScanned":0,"ProgressPercentage":100.0},"Rows":[%s]}`, token, 10*(n+1), s.pages[n])
}

// rowsOf returns pages of one row each, which hold their number.
func rowsOf(n int) *standIn {
	s := &standIn{}
	for i := range n {
		s.pages = append(s.pages, fmt.Sprintf(`{"Data":[{"ScalarValue":"%d"}]}`, i))
	}
	return s
}

var oneScalar = twoScalars[:1]

// TestTheNextPageIsAskedForEarly: while the rows of one page are being read, one further page is asked for, and only one.
func TestTheNextPageIsAskedForEarly(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			s := rowsOf(4)
			var asked [4]chan struct{}
			for i := range asked {
				asked[i] = make(chan struct{})
			}
			var read atomic.Int64 // pages; the next one may be being read, or about to be
			s.before = func(n int, _ http.ResponseWriter) bool {
				if at := read.Load(); int64(n) > at+1 {
					t.Errorf("page %d was asked for before page %d had been read", n, at)
				}
				close(asked[n])
				return false
			}
			n := 0
			_, err := newRunner(way(querytest.Client(t, s)), 0, io.Discard).Rows(t.Context(), "plain", statement, oneScalar, func(row result.Row) error {
				if got := string(row[0].Text); got != strconv.Itoa(n) {
					t.Errorf("got row %s, want %d", got, n)
				}
				if n++; n < 4 {
					<-asked[n]
				}
				read.Store(int64(n))
				return nil
			})
			if err != nil || n != 4 {
				t.Errorf("got %d rows, %v", n, err)
			}
		})
	}
}

func TestRefusedRowCancelsTheQuery(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			s := rowsOf(5)
			enough := errors.New("enough")
			r := newRunner(way(querytest.Client(t, s)), 3, io.Discard)
			rows := 0
			_, err := r.Rows(t.Context(), "plain", statement, oneScalar, func(result.Row) error { rows++; return enough })
			if err != enough || rows != 1 { //nolint:errorlint // the very error is meant
				t.Errorf("got %v after %d rows", err, rows)
			}
			if fmt.Sprint(s.cancelled) != "[Q]" || r.Last() != nil {
				t.Errorf("cancelled %v, last error %v", s.cancelled, r.Last())
			}
		})
	}
}

// stubborn answers whatever becomes of the caller.
type stubborn struct{ *querytest.Backend }

func (s stubborn) Query(ctx context.Context, in *timestreamquery.QueryInput, opts ...func(*timestreamquery.Options)) (*timestreamquery.QueryOutput, error) {
	return s.Backend.Query(context.WithoutCancel(ctx), in, opts...)
}

// TestAnEndedQueryIsNotCancelled: the page that was asked for early is the last one.
func TestAnEndedQueryIsNotCancelled(t *testing.T) {
	b := backend(1)
	b.PageRows = 2
	st, err := newRunner(stubborn{b}, 0, io.Discard).Rows(t.Context(), "plain", statement, twoScalars, func(result.Row) error { return io.ErrShortBuffer })
	if !errors.Is(err, io.ErrShortBuffer) || st.Pages != 2 || len(b.Cancelled()) != 0 {
		t.Errorf("got %v, %+v, cancelled %v", err, st, b.Cancelled())
	}
}

func TestRowsEndWithTheCaller(t *testing.T) {
	for name, way := range ways {
		for _, where := range []string{"asking", "reading"} {
			t.Run(name+", "+where, func(t *testing.T) {
				s := rowsOf(5)
				ctx, cancel := context.WithCancelCause(t.Context())
				left := errors.New("left")
				ended := make(chan struct{})
				s.before = func(n int, _ http.ResponseWriter) bool {
					if n == 2 && where == "asking" {
						cancel(left)
						<-ended // an answer that is on its way already would still be read
					}
					return false
				}
				rows := 0
				_, err := newRunner(way(querytest.Client(t, s)), 3, io.Discard).Rows(ctx, "plain", statement, oneScalar, func(result.Row) error {
					if rows++; rows == 2 && where == "reading" {
						cancel(left)
					}
					return nil
				})
				close(ended)
				if !errors.Is(err, left) || rows > 2 {
					t.Errorf("got %v after %d rows", err, rows)
				}
				if fmt.Sprint(s.cancelled) != "[Q]" {
					t.Errorf("cancelled %v", s.cancelled)
				}
			})
		}
	}
}

// TestPagesThatBreakOff: what HTTP or the page's frame shows to be broken is asked for again, and no row comes twice.
func TestPagesThatBreakOff(t *testing.T) {
	for name, how := range map[string]func(http.ResponseWriter, []byte){
		"less than announced": func(w http.ResponseWriter, body []byte) {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			_, _ = w.Write(body[:len(body)/2])
		},
		"an aborted stream": func(w http.ResponseWriter, body []byte) {
			_, _ = w.Write(body[:len(body)/2])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"not the whole document": func(w http.ResponseWriter, body []byte) { _, _ = w.Write(body[:len(body)-1]) },
		"no document":            func(w http.ResponseWriter, _ []byte) { _, _ = io.WriteString(w, "[]") },
	} {
		for page := range 3 {
			t.Run(fmt.Sprintf("%s, page %d", name, page), func(t *testing.T) {
				s := rowsOf(3)
				faults := 2
				s.before = func(n int, w http.ResponseWriter) bool {
					if n != page || faults == 0 {
						return false
					}
					faults--
					how(w, s.body(n))
					return true
				}
				r := newRunner(client.NewQuerier(querytest.Client(t, s)), 2, io.Discard)
				var got []string
				_, err := r.Rows(t.Context(), "plain", statement, oneScalar, func(row result.Row) error {
					got = append(got, string(row[0].Text))
					return nil
				})
				if err != nil || fmt.Sprint(got) != "[0 1 2]" || testutil.ToFloat64(r.retries.WithLabelValues("away")) != 2 {
					t.Errorf("got %v, %v", got, err)
				}
			})
		}
	}
}

// TestRowsThatCannotBeRead: rows before have been given out, so the statement ends.
func TestRowsThatCannotBeRead(t *testing.T) {
	for name, tt := range map[string]struct{ row, want string }{
		"kind":    {`{"Data":[{"TimeSeriesValue":[]}]}`, "row 3: column 1: TimeSeriesValue where a ScalarValue was asked for"},
		"columns": {`{"Data":[]}`, "row 3: 0 columns where 1 were asked for"},
		"JSON":    {`{"Data":[{"ScalarValue":"a"]}`, "row 3: column 1: byte"},
	} {
		for way := range ways {
			if way == "SDK" && name == "JSON" {
				continue // found before any row
			}
			t.Run(name+", "+way, func(t *testing.T) {
				s := rowsOf(4)
				s.pages[1] += "," + tt.row
				var calls atomic.Int64 // the last one may still be under way
				s.before = func(int, http.ResponseWriter) bool { calls.Add(1); return false }
				rows := 0
				_, err := newRunner(ways[way](querytest.Client(t, s)), 3, io.Discard).Rows(t.Context(), "plain", statement, oneScalar, func(result.Row) error { rows++; return nil })
				if !IsClass(err, Away) || !strings.Contains(err.Error(), tt.want) || rows != 2 || calls.Load() > 3 || fmt.Sprint(s.cancelled) != "[Q]" {
					t.Errorf("got %v after %d rows and %d calls, cancelled %v, want %q", err, rows, calls.Load(), s.cancelled, tt.want)
				}
			})
		}
	}
}

func TestAPageThatIsTooLarge(t *testing.T) {
	var calls atomic.Int64
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		_, _ = w.Write(make([]byte, client.MaxPage+1))
	})
	_, err := newRunner(client.NewQuerier(querytest.Client(t, h)), 3, io.Discard).Rows(t.Context(), "plain", statement, oneScalar, func(result.Row) error { return nil })
	if !IsClass(err, Failed) || !strings.Contains(err.Error(), "larger than 8 MiB") || calls.Load() != 1 {
		t.Errorf("got %v after %d calls", err, calls.Load())
	}
}

// cells is the service behind discovered endpoints: a cell that is not the present one says so.
type cells struct {
	mu             sync.Mutex
	present, asked int
}

func (c *cells) Do(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = io.Copy(io.Discard, r.Body)
	answer := func(status int, body string) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r, ContentLength: -1}, nil
	}
	host := fmt.Sprintf("query-cell%d.timestream.us-east-1.amazonaws.com", c.present)
	if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".DescribeEndpoints") {
		c.asked++
		return answer(http.StatusOK, `{"Endpoints":[{"Address":"`+host+`","CachePeriodInMinutes":1440}]}`)
	}
	if r.URL.Host != host {
		return answer(http.StatusMisdirectedRequest, `{"__type":"com.amazonaws.timestream.v20181101#InvalidEndpointException","message":"The requested endpoint was not valid."}`)
	}
	return answer(http.StatusOK, `{"ColumnInfo":[],"QueryId":"Q","Rows":[{"Data":[{"ScalarValue":"a"}]}]}`)
}

func TestAMovedEndpointIsDiscoveredAnew(t *testing.T) {
	for name, read := range map[string]func(*Runner) error{
		"Run": func(r *Runner) error {
			_, err := r.Run(t.Context(), "plain", statement, func(*timestreamquery.QueryOutput) error { return nil })
			return err
		},
		"Rows": func(r *Runner) error {
			_, err := r.Rows(t.Context(), "plain", statement, oneScalar, func(result.Row) error { return nil })
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := &cells{present: 1}
			r := newRunner(client.NewQuerier(timestreamquery.New(timestreamquery.Options{Region: "us-east-1", HTTPClient: c, Retryer: aws.NopRetryer{}, Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")})), 1, io.Discard)
			for range 3 {
				if err := read(r); err != nil {
					t.Fatal(err)
				}
				c.mu.Lock()
				c.present++
				c.mu.Unlock()
			}
			if c.asked != 3 || testutil.ToFloat64(r.retries.WithLabelValues("away")) != 2 {
				t.Errorf("asked %d times for the endpoint", c.asked)
			}
		})
	}
}

// database is one in the same process.
type database struct {
	*querytest.Backend
	rows int
	fail func(given int) error
}

func (d *database) QueryRows(_ context.Context, statement string, kinds []result.Kind, row func(result.Row) error) (result.Stats, error) {
	if statement == "" || len(kinds) != 1 {
		return result.Stats{}, querytest.Validation("line 1:1: empty")
	}
	for i := range d.rows {
		if err := d.fail(i); err != nil {
			return result.Stats{MeteredBytes: 1}, err
		}
		if err := row(result.Row{{Text: strconv.AppendInt(nil, int64(i), 10)}}); err != nil {
			return result.Stats{MeteredBytes: 2}, err
		}
	}
	return result.Stats{MeteredBytes: 3}, nil
}

func TestRowsOfADatabaseInTheProcess(t *testing.T) {
	throttled, enough := &types.ThrottlingException{Message: aws.String("slow down")}, errors.New("enough")
	for _, tt := range []struct {
		name    string
		faults  int // how often the fault is met, at row at
		at      int
		fault   error
		refuse  int // the row that is refused; -1: none
		want    Class
		rows    int
		metered int64
	}{
		{name: "fine", refuse: -1, rows: 3, metered: 3},
		{name: "throttled, then fine", faults: 2, fault: throttled, refuse: -1, rows: 3, metered: 5},
		{name: "throttled for good", faults: 3, fault: throttled, refuse: -1, want: Throttled, metered: 3},
		{name: "throttled after a row", faults: 1, at: 1, fault: throttled, refuse: -1, want: Throttled, rows: 1, metered: 1},
		{name: "invalid", faults: 1, fault: querytest.Validation("Column 'x' does not exist"), refuse: -1, want: NoColumn, metered: 1},
		{name: "refused", refuse: 1, rows: 2, metered: 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			left := tt.faults
			d := &database{Backend: &querytest.Backend{}, rows: 3, fail: func(given int) error {
				if given == tt.at && left > 0 {
					left--
					return tt.fault
				}
				return nil
			}}
			r := newRunner(d, 2, io.Discard)
			rows := 0
			st, err := r.Rows(t.Context(), "plain", statement, oneScalar, func(row result.Row) error {
				if got := string(row[0].Text); got != strconv.Itoa(rows) {
					t.Errorf("got row %s, want %d", got, rows)
				}
				if rows++; rows-1 == tt.refuse {
					return enough
				}
				return nil
			})
			switch {
			case tt.refuse >= 0:
				if err != enough || r.Last() != nil { //nolint:errorlint // the very error is meant
					t.Errorf("got %v, last error %v", err, r.Last())
				}
			case tt.fault != nil && tt.want != 0:
				if !IsClass(err, tt.want) || testutil.ToFloat64(r.errors.WithLabelValues(tt.want.String())) != 1 {
					t.Errorf("got %v, want class %s", err, tt.want)
				}
			case err != nil:
				t.Error(err)
			}
			if rows != tt.rows || st != (Stats{MeteredBytes: tt.metered}) || testutil.ToFloat64(r.metered) != float64(tt.metered) {
				t.Errorf("got %d rows, %+v", rows, st)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	d := &database{Backend: &querytest.Backend{}, rows: 3, fail: func(int) error { cancel(); return ctx.Err() }}
	if _, err := newRunner(d, 2, io.Discard).Rows(ctx, "plain", statement, oneScalar, func(result.Row) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// grouped returns pages of grouped rows, each as full as the service makes it.
func grouped(series, points int) *standIn {
	s := &standIn{}
	var page, row bytes.Buffer
	for i := range series {
		row.Reset()
		fmt.Fprintf(&row, `{"Data":[{"ScalarValue":"host-%05d.example.org:9100"},{"ScalarValue":"node"},{"TimeSeriesValue":[`, i)
		for p := range points {
			if p > 0 {
				row.WriteByte(',')
			}
			fmt.Fprintf(&row, `{"Time":"2026-08-08 %02d:%02d:%02d.123000000","Value":{"ScalarValue":"%d.%d"}}`, p*15/3600, p*15/60%60, p*15%60, i*p, p)
		}
		row.WriteString(`]}]}`)
		if page.Len()+row.Len()+1 > 1_000_000 {
			s.pages = append(s.pages, page.String())
			page.Reset()
		}
		if page.Len() > 0 {
			page.WriteByte(',')
		}
		page.Write(row.Bytes())
	}
	s.pages = append(s.pages, page.String())
	return s
}

// BenchmarkRows reads grouped rows from pages that take 5 ms each, over HTTP. The server's work is part of it.
func BenchmarkRows(b *testing.B) {
	kinds := []result.Kind{result.Scalar, result.Scalar, result.Doubles}
	for _, series := range []int{1000, 5000} {
		s := grouped(series, 240)
		s.delay = 5 * time.Millisecond
		for _, name := range []string{"pages", "SDK"} {
			b.Run(fmt.Sprintf("%d series/%s", series, name), func(b *testing.B) {
				r := newRunner(ways[name](querytest.Client(b, s)), 0, io.Discard)
				b.ReportAllocs()
				samples := 0
				for b.Loop() {
					if _, err := r.Rows(b.Context(), "plain", statement, kinds, func(row result.Row) error { samples += len(row[2].Points); return nil }); err != nil {
						b.Fatal(err)
					}
				}
				if samples != b.N*series*240 {
					b.Fatalf("%d samples in %d runs", samples, b.N)
				}
				b.ReportMetric(float64(samples)/b.Elapsed().Seconds(), "samples/s")
			})
		}
	}
}

// canned answers every call with the same page.
type canned struct{ body []byte }

func (c canned) Do(r *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, r.Body)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(c.body)), ContentLength: int64(len(c.body)), Request: r}, nil
}

// BenchmarkOnePage reads one full page without a network: what remains is the SDK's stack of steps, and decoding.
func BenchmarkOnePage(b *testing.B) {
	kinds := []result.Kind{result.Scalar, result.Scalar, result.Doubles}
	s := grouped(45, 240)
	body := s.body(0)
	for _, name := range []string{"pages", "SDK"} {
		b.Run(name, func(b *testing.B) {
			c := timestreamquery.New(timestreamquery.Options{
				Region: "us-east-1", HTTPClient: canned{body}, Retryer: aws.NopRetryer{}, Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""), BaseEndpoint: aws.String("http://localhost"),
				EndpointDiscovery: timestreamquery.EndpointDiscoveryOptions{EnableEndpointDiscovery: aws.EndpointDiscoveryDisabled},
			})
			r := newRunner(ways[name](c), 0, io.Discard)
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			samples := 0
			for b.Loop() {
				if _, err := r.Rows(b.Context(), "plain", statement, kinds, func(row result.Row) error { samples += len(row[2].Points); return nil }); err != nil {
					b.Fatal(err)
				}
			}
			if samples != b.N*45*240 {
				b.Fatalf("%d samples in %d runs", samples, b.N)
			}
			b.ReportMetric(float64(samples)/b.Elapsed().Seconds(), "samples/s")
		})
	}
}
