// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/aws/smithy-go"
)

// querier returns one of the real client on a server of h.
func querier(t *testing.T, h http.HandlerFunc) *Querier {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	cfg := DefaultConfig()
	cfg.Endpoint, cfg.LocalCredentials = srv.URL, true
	c, err := NewQuery(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return NewQuerier(c)
}

func statement() *timestreamquery.QueryInput {
	return &timestreamquery.QueryInput{QueryString: aws.String("SELECT 1"), NextToken: aws.String("T")}
}

func TestQueryPageGivesTheBodyAsItCame(t *testing.T) {
	var body string
	var request []byte
	var headers http.Header
	q := querier(t, func(w http.ResponseWriter, r *http.Request) {
		request, _ = io.ReadAll(r.Body)
		headers = r.Header
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = io.WriteString(w, body)
	})
	for _, size := range []int{0, 1, 100, step - 1, step, step + 1, 1 << 20, usualPage + 1, MaxPage} {
		body = strings.Repeat("x", size)
		page, err := q.QueryPage(t.Context(), statement())
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if string(page.Body()) != body {
			t.Errorf("%d bytes: got %d", size, len(page.Body()))
		}
		page.Release()
	}
	if !bytes.Contains(request, []byte(`"NextToken":"T"`)) || !bytes.Contains(request, []byte(`"QueryString":"SELECT 1"`)) {
		t.Errorf("the request: %s", request)
	}
	if !strings.Contains(headers.Get("Authorization"), "Credential=local/") || headers.Get("X-Amz-Target") != "Timestream_20181101.Query" {
		t.Errorf("the headers: %v", headers)
	}
}

// Lengths that are not announced, and bodies that are compressed on the way as net/http offers to servers.
func TestQueryPageWithoutALength(t *testing.T) {
	for _, size := range []int{0, 1, step - 1, step, 3*step + 5, 1 << 20, MaxPage} {
		for _, zipped := range []bool{false, true} {
			body := strings.Repeat("x", size)
			q := querier(t, func(w http.ResponseWriter, r *http.Request) {
				if !zipped {
					w.(http.Flusher).Flush()
					_, _ = io.WriteString(w, body)
					return
				}
				if r.Header.Get("Accept-Encoding") != "gzip" {
					t.Errorf("Accept-Encoding: %q", r.Header.Get("Accept-Encoding"))
				}
				w.Header().Set("Content-Encoding", "gzip")
				z := gzip.NewWriter(w)
				_, _ = io.WriteString(z, body)
				_ = z.Close()
			})
			page, err := q.QueryPage(t.Context(), statement())
			if err != nil || string(page.Body()) != body {
				t.Fatalf("%d bytes, compressed %v: %v", size, zipped, err)
			}
			page.Release()
		}
	}
}

func TestQueryPageIsBounded(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"announced": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(MaxPage+1))
			w.WriteHeader(http.StatusOK)
		},
		"not announced": func(w http.ResponseWriter, _ *http.Request) {
			for range MaxPage/step + 1 {
				_, _ = w.Write(make([]byte, step))
			}
		},
		"without end": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, step)); err != nil {
					return
				}
			}
		},
		"compressed": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = z.Write(make([]byte, MaxPage+1))
			_ = z.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := querier(t, h).QueryPage(t.Context(), statement()); !errors.Is(err, ErrPageTooLarge) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestQueryPageThatBreaksOff(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"announced": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "{")
		},
		"not announced": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "{")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := querier(t, h).QueryPage(t.Context(), statement())
			var broken *smithy.DeserializationError
			if !errors.As(err, &broken) || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestQueryPageHasTheErrorsOfQuery: whatever is no success is the SDK's to read.
func TestQueryPageHasTheErrorsOfQuery(t *testing.T) {
	var status int
	var body string
	q := querier(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	for _, tt := range []struct {
		status int
		body   string
		as     any
	}{
		{429, `{"__type":"com.amazonaws.timestream.v20181101#ThrottlingException","message":"slow down"}`, new(*types.ThrottlingException)},
		{400, `{"__type":"com.amazonaws.timestream.v20181101#ValidationException","message":"line 1:1"}`, new(*types.ValidationException)},
		{500, `{"__type":"com.amazonaws.timestream.v20181101#InternalServerException","message":"later"}`, new(*types.InternalServerException)},
		{403, `{"__type":"AccessDeniedException","Message":"no"}`, new(*types.AccessDeniedException)},
		{400, `{"__type":"Strange","message":"what"}`, new(*smithy.GenericAPIError)},
		{502, `<html>`, new(*smithy.DeserializationError)},
	} {
		status, body = tt.status, tt.body
		_, want := q.Query(t.Context(), statement())
		_, got := q.QueryPage(t.Context(), statement())
		if !errors.As(got, tt.as) {
			t.Errorf("%s: got %v, want a %T", tt.body, got, tt.as)
		}
		if strip(got) != strip(want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.QueryPage(ctx, statement()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// strip leaves the id of the request out of an error.
func strip(err error) string {
	before, after, _ := strings.Cut(fmt.Sprint(err), "RequestID: ")
	_, after, _ = strings.Cut(after, ",")
	return before + after
}

func TestQueryPageDiscoversAMovedEndpointAnew(t *testing.T) {
	c := &cells{present: 1}
	q := NewQuerier(timestreamquery.New(timestreamquery.Options{Region: "us-east-1", HTTPClient: c, Retryer: aws.NopRetryer{}, Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")}))
	call := func() error {
		page, err := q.QueryPage(t.Context(), statement())
		if err == nil {
			if string(page.Body()) != "{}" {
				t.Errorf("got %s", page.Body())
			}
			page.Release()
		}
		return err
	}
	for range 2 {
		if err := call(); err != nil {
			t.Fatal(err)
		}
	}
	c.present = 2
	var moved *types.InvalidEndpointException
	if err := call(); !errors.As(err, &moved) {
		t.Errorf("the call to the old cell: %v", err)
	}
	if err := call(); err != nil || c.asked != 2 {
		t.Errorf("the next call: %v, asked %d times for the endpoint", err, c.asked)
	}
}

func BenchmarkQueryPage(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 1<<20)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	}))
	defer srv.Close()
	cfg := DefaultConfig()
	cfg.Endpoint, cfg.LocalCredentials = srv.URL, true
	c, err := NewQuery(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	q := NewQuerier(c)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		page, err := q.QueryPage(b.Context(), statement())
		if err != nil {
			b.Fatal(err)
		}
		page.Release()
	}
}
