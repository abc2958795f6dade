// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tributary-project/tributary/gateway"
	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
)

func chunksRequest(tb testing.TB, queries ...*prompb.Query) []byte {
	return encodeRead(tb, &prompb.ReadRequest{Queries: queries, AcceptedResponseTypes: []prompb.ReadRequest_ResponseType{prompb.ReadRequest_STREAMED_XOR_CHUNKS, prompb.ReadRequest_SAMPLES}})
}

func chunksHeader() *queryv1.ReadResponse {
	return &queryv1.ReadResponse{Message: &queryv1.ReadResponse_Header{Header: &queryv1.ReadHeader{ResponseType: queryv1.ResponseType_RESPONSE_TYPE_STREAMED_XOR_CHUNKS}}}
}

func frames(data ...string) *queryv1.ReadResponse {
	f := &queryv1.ReadFrames{}
	for _, d := range data {
		f.Frames = append(f.Frames, []byte(d))
	}
	return &queryv1.ReadResponse{Message: &queryv1.ReadResponse_Frames{Frames: f}}
}

// nextFrame reads one frame of a stream as storage/remote's ChunkedReader does; that itself is used in the tests of the whole
// system.
func nextFrame(r *bufio.Reader) (string, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return "", err
	}
	data := make([]byte, 4+n)
	if _, err := io.ReadFull(r, data); err != nil {
		return "", err
	}
	if got, want := crc32.Checksum(data[4:], crc32.MakeTable(crc32.Castagnoli)), binary.BigEndian.Uint32(data); got != want {
		return "", fmt.Errorf("got checksum %x, want %x", got, want)
	}
	return string(data[4:]), nil
}

// TestChunksArePassedOn: frames of all sizes arrive in order, query after query, and each query has its number.
func TestChunksArePassedOn(t *testing.T) {
	s := start(t, nil)
	var running, most atomic.Int64
	s.query.read = func(req *queryv1.ReadRequest, out grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
		if req.GetResponseType() != queryv1.ResponseType_RESPONSE_TYPE_STREAMED_XOR_CHUNKS {
			return status.Error(codes.InvalidArgument, "not for chunks")
		}
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		messages := []*queryv1.ReadResponse{chunksHeader()}
		for i := range req.GetStartMs() {
			messages = append(messages, frames(fmt.Sprintf("query %d frame %d ", req.GetQueryIndex(), i), strings.Repeat("x", 1<<(2*i)), "last"))
		}
		return send(out, append(messages, frames(), trailer("a warning"))...)
	}
	for _, sizes := range [][]int64{nil, {0}, {1}, {10}, {11, 0, 2}} {
		var queries []*prompb.Query
		var want []string
		for i, n := range sizes {
			queries = append(queries, query(n, 10))
			for j := range n {
				want = append(want, fmt.Sprintf("query %d frame %d ", i, j), strings.Repeat("x", 1<<(2*j)), "last")
			}
		}
		for _, path := range []string{"/api/v1/read", "/read"} {
			got := s.post(path, typeV1, chunksRequest(t, queries...))
			if ct := got.header.Get("Content-Type"); got.code != 200 || ct != "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse" || got.header.Get("Content-Encoding") != "" {
				t.Fatalf("got %d %q, %v", got.code, got.body, got.header)
			}
			r := bufio.NewReader(strings.NewReader(got.body))
			for i, w := range want {
				if f, err := nextFrame(r); err != nil || f != w {
					t.Fatalf("%v, frame %d: got %.50q of %d bytes, want %.50q (%v)", sizes, i, f, len(f), w, err)
				}
			}
			if _, err := nextFrame(r); !errors.Is(err, io.EOF) {
				t.Errorf("after the last frame: %v", err)
			}
		}
	}
	if most.Load() != 1 {
		t.Errorf("%d queries of one request at once", most.Load())
	}
}

// TestChunksErrors: before the first frame an error has its status code and text; after it the connection is cut.
func TestChunksErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		give func(out grpc.ServerStreamingServer[queryv1.ReadResponse]) error // for the second query
		want int
		text string
	}{
		{"invalid", func(grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
			return status.Error(codes.InvalidArgument, "the text")
		}, 400, "the text"},
		{"away", func(out grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
			return errors.Join(send(out, chunksHeader()), status.Error(codes.Unavailable, "the text"))
		}, 503, "the text"},
		{"no trailer", func(out grpc.ServerStreamingServer[queryv1.ReadResponse]) error { return send(out, chunksHeader()) }, 503, "ended its answer early"},
		{"samples instead", func(out grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
			return send(out, header(), trailer())
		}, 500, "chunks were asked for"},
		{"nothing comes", func(out grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
			<-out.Context().Done()
			return out.Context().Err()
		}, 503, "--read.timeout"},
	} {
		for _, begun := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, begun %v", tt.name, begun), func(t *testing.T) {
				patiently(t, 300*time.Millisecond, func(limit time.Duration) bool { return chunksError(t, limit, tt.give, begun, tt.want, tt.text) })
			})
		}
	}
}

// chunksError asks for two queries, of which the second fails, before or after the first frame. It returns false when the time
// limit, which only the last case needs, was over before the first one had come.
func chunksError(t *testing.T, limit time.Duration, give func(grpc.ServerStreamingServer[queryv1.ReadResponse]) error, begun bool, want int, text string) bool {
	late := strings.Contains(text, "timeout")
	s := start(t, func(c *gateway.Config) {
		if late {
			c.ReadTimeout = limit
		}
	})
	s.query.read = func(req *queryv1.ReadRequest, out grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
		if req.GetQueryIndex() == 1 {
			return give(out)
		}
		if begun {
			return send(out, chunksHeader(), frames("some"), trailer())
		}
		return send(out, chunksHeader(), trailer())
	}
	body := chunksRequest(t, query(0, 1), query(1, 1))
	if !begun {
		got := s.post("/api/v1/read", typeV1, body)
		if got.code != want || !strings.Contains(got.body, text) {
			t.Errorf("got %d %q, want %d %q", got.code, got.body, want, text)
		}
		return true
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/api/v1/read", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Encoding", "snappy")
	res, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if late && res.StatusCode == http.StatusServiceUnavailable {
		return false
	}
	r := bufio.NewReader(res.Body)
	if f, err := nextFrame(r); res.StatusCode != http.StatusOK || f != "some" {
		t.Fatalf("got %d, %q, %v", res.StatusCode, f, err)
	}
	if f, err := nextFrame(r); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("after an error: got %q, %v", f, err)
	}
	return true
}

// TestChunksAreBounded: what the client does not take is not read from the query service; a client that takes nothing at all
// for the time limit is cut off, one that is only slow is not, however long it takes.
func TestChunksAreBounded(t *testing.T) {
	part := strings.Repeat("x", 64<<10)
	// open asks a gateway with a time limit for n messages. What becomes of reading them is sent to ended.
	open := func(limit time.Duration, n int64) (r *bufio.Reader, sent *atomic.Int64, ended chan error) {
		s := start(t, func(c *gateway.Config) { c.ReadTimeout = limit })
		sent, ended = new(atomic.Int64), make(chan error, 1)
		s.query.read = func(req *queryv1.ReadRequest, out grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
			err := send(out, chunksHeader())
			for range req.GetEndMs() {
				if err == nil {
					err = send(out, frames(part))
					sent.Add(1)
				}
			}
			if err == nil {
				err = send(out, trailer())
			}
			ended <- err
			return err
		}
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		body := chunksRequest(t, query(0, n))
		if _, err := fmt.Fprintf(conn, "POST /read HTTP/1.1\r\nHost: x\r\nContent-Encoding: snappy\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
			t.Fatal(err)
		}
		return bufio.NewReader(conn), sent, ended
	}

	patiently(t, 400*time.Millisecond, func(limit time.Duration) bool {
		r, sent, ended := open(limit, 1<<20) // 64 GiB, of which nothing is taken
		select {
		case err := <-ended:
			if status.Code(err) != codes.Canceled && !errors.Is(err, context.Canceled) {
				t.Errorf("the read ended with %v", err)
			}
		case <-time.After(limit + time.Minute):
			t.Fatal("the read goes on for a client that takes nothing")
		}
		if n := sent.Load(); n > 1000 {
			t.Errorf("%d messages were read for nobody", n)
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK // else the limit was over before the answer began
	})

	patiently(t, 400*time.Millisecond, func(limit time.Duration) bool {
		begun := time.Now()
		r, _, ended := open(limit, 200)
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		fr := bufio.NewReader(res.Body)
		for i := range 200 {
			if f, err := nextFrame(fr); err != nil || f != part {
				t.Logf("within %s: frame %d: %d bytes, %v", limit, i, len(f), err)
				return false
			}
			if i%20 == 0 {
				time.Sleep(limit / 4) // the slowness is what is tested
			}
		}
		if _, err := nextFrame(fr); !errors.Is(err, io.EOF) {
			t.Errorf("after the last frame: %v", err)
		}
		if took := time.Since(begun); took < 2*limit {
			t.Errorf("it took only %s, which shows nothing", took)
		}
		if err := <-ended; err != nil {
			t.Errorf("the slow read: %v", err)
		}
		return true
	})
}
