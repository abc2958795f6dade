// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/e2e/internal/rw"
	"github.com/tributary-project/tributary/e2e/internal/system"
)

// endless makes the statements that read samples ones of pages without end: after the first page of the store each further one is
// empty and has another token.
type endless struct {
	mu sync.Mutex
	// id is the query that has no end, pages how many of its empty pages were asked for, asking how many are being asked for.
	id        string
	pages     int
	asking    int
	cancelled map[string]bool
}

func (e *endless) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var in struct{ QueryString, NextToken, QueryId string }
	_ = json.Unmarshal(body, &in)
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	switch {
	case operation == "CancelQuery":
		e.mu.Lock()
		e.cancelled[in.QueryId] = true
		e.mu.Unlock()
		fmt.Fprint(w, `{}`)
	case operation == "Query" && strings.HasPrefix(in.NextToken, "endless-"):
		e.mu.Lock()
		e.asking++
		e.mu.Unlock()
		gone := false
		select { // not as fast as it goes
		case <-r.Context().Done():
			gone = true
		case <-time.After(10 * time.Millisecond):
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.asking--
		if gone {
			return
		}
		e.pages++
		e.give(w, map[string]any{"ColumnInfo": []any{}, "Rows": []any{}})
	case operation == "Query" && strings.Contains(in.QueryString, "CREATE_TIME_SERIES"):
		first := httptest.NewRecorder()
		next.ServeHTTP(first, r)
		var out map[string]any
		if err := json.Unmarshal(first.Body.Bytes(), &out); err != nil || first.Code != http.StatusOK {
			w.WriteHeader(first.Code)
			_, _ = w.Write(first.Body.Bytes())
			return
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.id, _ = out["QueryId"].(string)
		e.give(w, out)
	default:
		next.ServeHTTP(w, r)
	}
}

func (e *endless) give(w io.Writer, page map[string]any) {
	page["QueryId"], page["NextToken"] = e.id, fmt.Sprintf("endless-%d", e.pages)
	_ = json.NewEncoder(w).Encode(page)
}

// state returns how many pages were asked for, whether the query was cancelled, and whether another was.
func (e *endless) state() (pages int, cancelled, others bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	cancelled = e.cancelled[e.id]
	return e.pages, cancelled, len(e.cancelled) > 1 || len(e.cancelled) == 1 && !cancelled
}

// TestClientGoesAway: when the client of the gateway goes away in the middle of a query or of a read, the query service tells
// Timestream that nobody waits for the statement any more, and asks for no more of its pages.
func TestClientGoesAway(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		make func(ctx context.Context, s *system.System) (*http.Request, error)
	}{
		{"query", func(ctx context.Context, s *system.System) (*http.Request, error) {
			return http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/api/v1/query?"+url.Values{"query": {`left{job="a"}[1h]`}}.Encode(), http.NoBody)
		}},
		{"chunked read", func(ctx context.Context, s *system.System) (*http.Request, error) {
			now := time.Now().UnixMilli()
			body, err := (&prompb.ReadRequest{
				Queries:               []*prompb.Query{{StartTimestampMs: now - 3_600_000, EndTimestampMs: now, Matchers: []*prompb.LabelMatcher{eq("__name__", "left"), eq("job", "a")}}},
				AcceptedResponseTypes: []prompb.ReadRequest_ResponseType{prompb.ReadRequest_STREAMED_XOR_CHUNKS},
			}).Marshal()
			if err != nil {
				return nil, err
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.ReadURL(), bytes.NewReader(snappy.Encode(nil, body)))
			if err != nil {
				return nil, err
			}
			req.Header.Set("Content-Encoding", "snappy")
			req.Header.Set("Content-Type", "application/x-protobuf")
			return req, nil
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := system.Start(t, system.Options{})
			probe{t, s.URL}.accept(rw.V2, rw.New("__name__", "left", "job", "a").At(time.Now().Add(-time.Minute).UnixMilli(), 1))
			e := &endless{cancelled: map[string]bool{}}
			s.Timestream.Set(e.serve)
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			req, err := tt.make(ctx, s)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() {
				res, err := http.DefaultClient.Do(req)
				if err == nil {
					_, err = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
				}
				ended <- err
			}()
			until(t, 2*time.Minute, func() error {
				if pages, _, _ := e.state(); pages < 3 {
					return fmt.Errorf("%d pages were asked for", pages)
				}
				return nil
			})
			if _, cancelled, others := e.state(); cancelled || others {
				t.Fatal("cancelled while the client waits")
			}
			leave()
			if err := <-ended; err == nil {
				t.Error("the client got an answer from a query without end")
			}
			until(t, 2*time.Minute, func() error {
				if _, cancelled, _ := e.state(); !cancelled {
					return fmt.Errorf("the query is not cancelled")
				}
				return nil
			})
			// Nothing of it runs on.
			until(t, 2*time.Minute, func() error {
				if n := metricValue(t, s.Registry, "tributary_query_result_bytes"); n != 0 {
					return fmt.Errorf("%v bytes are held", n)
				}
				return nil
			})
			until(t, 2*time.Minute, func() error {
				e.mu.Lock()
				defer e.mu.Unlock()
				if e.asking > 0 {
					return fmt.Errorf("%d pages are being asked for", e.asking)
				}
				return nil
			})
			at, _, others := e.state()
			if others {
				t.Error("a query was cancelled that has an end")
			}
			a, err := get(t.Context(), s.URL+"/api/v1/labels")
			if err != nil || a.Status != http.StatusOK {
				t.Errorf("another client: %d %s %v", a.Status, a.Text, err)
			}
			if now, _, _ := e.state(); now != at {
				t.Errorf("%d pages were asked for afterwards", now-at)
			}
		})
	}
}
