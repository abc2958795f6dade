// SPDX-License-Identifier: Apache-2.0

package standin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Results is an endpoint for Timestream's Query that knows no SQL. A statement that it has not seen is run to its end at another
// endpoint, pages and all, and from then on answered from memory: what is asked for a second time costs a copy of bytes, so that a
// benchmark measures who asks.
type Results struct {
	// Upstream is the URL of the endpoint that knows the answers; it is asked for a statement once, and for nothing else.
	Upstream string
	// Client asks it.
	Client *http.Client
	// Latency is how long each call takes.
	Latency time.Duration
	// Repeat makes results longer than what there is: pages whose rows hold Marker are given out so many times, each time with
	// another number in place of the digits that Marker ends with, which must be zeros and as many as the numbers take. The rows
	// stay sorted when the marker comes first in what they are sorted by. 0 and 1 repeat nothing.
	Repeat int
	Marker string

	mu      sync.Mutex
	results map[string]*recorded // by statement
	list    []*recorded

	pages, bodyBytes atomic.Int64
	buffers          sync.Pool // of *[]byte
}

// recorded is what became of a statement.
type recorded struct {
	once  sync.Once
	index int
	err   error

	// failed is how the endpoint refused it, with its status; nil when it did not.
	failed []byte
	status int

	pages []page
	// lead is how many pages come before the first with a marker.
	lead int
	// digits is how long the number in the marker is.
	digits int
}

// page is one answer; a NextToken comes between its two parts, where the service has it.
type page struct {
	head, tail []byte
	// marks are the places in tail where the number of a marker begins.
	marks []int
}

// Pages is how many pages were given out.
func (s *Results) Pages() int64 { return s.pages.Load() }

// Bytes is how large the pages were that were given out.
func (s *Results) Bytes() int64 { return s.bodyBytes.Load() }

// maxStatement is how much of a request's body is read.
const maxStatement = 1 << 20

// ServeHTTP implements http.Handler.
func (s *Results) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	body, err := io.ReadAll(io.LimitReader(r.Body, maxStatement))
	if err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	switch operation {
	case "DescribeEndpoints":
		fmt.Fprintf(w, `{"Endpoints":[{"Address":"http://%s","CachePeriodInMinutes":1440}]}`, r.Host)
	case "CancelQuery":
		fmt.Fprint(w, `{"CancellationMessage":"The query was cancelled."}`)
	case "Query":
		s.query(w, r, body)
	default:
		fail(w, http.StatusForbidden, "AccessDeniedException", "this endpoint only answers queries")
	}
}

func (s *Results) query(w http.ResponseWriter, r *http.Request, body []byte) {
	var in struct{ QueryString, NextToken string }
	if err := json.Unmarshal(body, &in); err != nil {
		fail(w, http.StatusBadRequest, "ValidationException", err.Error())
		return
	}
	due := time.NewTimer(s.Latency)
	defer due.Stop()
	x := s.result(in.QueryString)
	x.once.Do(func() { x.err = s.record(context.WithoutCancel(r.Context()), in.QueryString, x) })
	select {
	case <-due.C:
	case <-r.Context().Done():
		return
	}
	switch {
	case x.err != nil:
		fail(w, http.StatusInternalServerError, "InternalServerException", x.err.Error())
	case x.failed != nil:
		w.WriteHeader(x.status)
		_, _ = w.Write(x.failed)
	default:
		n, err := s.find(in.NextToken, x)
		if err != nil {
			fail(w, http.StatusBadRequest, "ValidationException", err.Error())
			return
		}
		s.give(w, x, n)
	}
}

// result returns what is known of a statement, which may be nothing yet.
func (s *Results) result(statement string) *recorded {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.results[statement]
	if x == nil {
		x = &recorded{index: len(s.list)}
		if s.results == nil {
			s.results = map[string]*recorded{}
		}
		s.results[statement] = x
		s.list = append(s.list, x)
	}
	return x
}

// find reads a token, which is the number of a result and that of a page. No token asks for the first page.
func (s *Results) find(token string, of *recorded) (int, error) {
	if token == "" {
		return 0, nil
	}
	a, b, _ := strings.Cut(token, "-")
	index, err1 := strconv.Atoi(a)
	n, err2 := strconv.Atoi(b)
	if err := errors.Join(err1, err2); err != nil || index != of.index || n < 1 || n >= s.length(of) {
		return 0, fmt.Errorf("the NextToken %q is not of this statement", token)
	}
	return n, nil
}

// length is how many pages are given out for a result.
func (s *Results) length(x *recorded) int {
	return x.lead + (len(x.pages)-x.lead)*max(s.Repeat, 1)
}

// give writes a page.
func (s *Results) give(w http.ResponseWriter, x *recorded, n int) {
	i, block := n, 0
	if rest := len(x.pages) - x.lead; n >= x.lead {
		i, block = x.lead+(n-x.lead)%rest, (n-x.lead)/rest
	}
	p := &x.pages[i]
	token := ""
	if n+1 < s.length(x) {
		token = fmt.Sprintf(`"NextToken":"%d-%d",`, x.index, n+1)
	}
	tail := p.tail
	if block > 0 {
		buffer, _ := s.buffers.Get().(*[]byte)
		if buffer == nil {
			buffer = new([]byte)
		}
		defer s.buffers.Put(buffer)
		*buffer = append((*buffer)[:0], p.tail...)
		tail = *buffer
		number := fmt.Sprintf("%0*d", x.digits, block)
		for _, at := range p.marks {
			copy(tail[at:], number)
		}
	}
	size := len(p.head) + len(token) + len(tail)
	s.pages.Add(1)
	s.bodyBytes.Add(int64(size))
	w.Header().Set("Content-Length", strconv.Itoa(size))
	_, _ = w.Write(p.head)
	_, _ = io.WriteString(w, token)
	_, _ = w.Write(tail)
}

// record runs a statement to its end.
func (s *Results) record(ctx context.Context, statement string, x *recorded) error {
	x.digits = len(s.Marker) - len(strings.TrimRight(s.Marker, "0"))
	if s.Repeat > 1 && (x.digits == 0 || len(strconv.Itoa(s.Repeat-1)) > x.digits) {
		return fmt.Errorf("the marker %q has no room for %d repetitions", s.Marker, s.Repeat)
	}
	for token := ""; ; {
		in, err := json.Marshal(struct {
			QueryString string
			NextToken   string `json:",omitempty"`
		}{statement, token})
		if err != nil {
			return err
		}
		status, body, err := s.ask(ctx, in)
		if err != nil {
			return err
		}
		if status != http.StatusOK {
			x.status, x.failed = status, body
			return nil
		}
		var p page
		if p, token, err = s.cut(body); err != nil {
			return err
		}
		if len(p.marks) == 0 {
			if x.lead < len(x.pages) {
				return fmt.Errorf("a page without the marker %q follows one that has it", s.Marker)
			}
			x.lead++
		}
		x.pages = append(x.pages, p)
		if token == "" {
			break
		}
	}
	return nil
}

// ask makes one call to the endpoint that knows.
func (s *Results) ask(ctx context.Context, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Upstream, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("X-Amz-Target", "Timestream_20181101.Query")
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	res, err := s.Client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	out, err := io.ReadAll(res.Body)
	return res.StatusCode, out, err
}

// cut takes an answer apart and returns its token.
func (s *Results) cut(body []byte) (p page, token string, err error) {
	var a struct {
		ColumnInfo, QueryStatus, Rows json.RawMessage
		QueryID                       string `json:"QueryId"`
		NextToken                     string
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return p, "", err
	}
	p.head = fmt.Appendf(nil, `{"ColumnInfo":%s,`, a.ColumnInfo)
	p.tail = fmt.Appendf(nil, `"QueryId":%q,"QueryStatus":%s,"Rows":%s}`, a.QueryID, a.QueryStatus, a.Rows)
	if s.Repeat > 1 {
		marker := []byte(s.Marker)
		digits := len(s.Marker) - len(strings.TrimRight(s.Marker, "0"))
		for at := 0; ; {
			i := bytes.Index(p.tail[at:], marker)
			if i < 0 {
				break
			}
			at += i + len(marker)
			p.marks = append(p.marks, at-digits)
		}
	}
	return p, a.NextToken, nil
}
