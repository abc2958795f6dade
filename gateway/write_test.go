// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tributary-project/tributary/gateway"
	"github.com/tributary-project/tributary/gateway/internal/httperr"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
)

var written = []string{
	"X-Prometheus-Remote-Write-Samples-Written",
	"X-Prometheus-Remote-Write-Histograms-Written",
	"X-Prometheus-Remote-Write-Exemplars-Written",
}

// writtenOf returns the Written headers, or "" when there are none.
func writtenOf(h http.Header) string {
	var out []string
	for _, name := range written {
		if v, ok := h[http.CanonicalHeaderKey(name)]; ok {
			out = append(out, strings.Join(v, ","))
		}
	}
	return strings.Join(out, " ")
}

func TestWriteNegotiation(t *testing.T) {
	s := start(t, nil)
	body := snappy.Encode(nil, []byte("message"))
	const v1, v2 = ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V1, ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V2
	tests := []struct {
		name         string
		giveMethod   string
		giveType     string // "-" for none
		giveEncoding []string
		want         int
		wantMessage  ingestv1.MessageType
	}{
		{"1.0 by media type alone", "POST", "application/x-protobuf", []string{"snappy"}, 204, v1},
		{"1.0 by parameter", "POST", "application/x-protobuf;proto=prometheus.WriteRequest", []string{"snappy"}, 204, v1},
		{"2.0", "POST", typeV2, []string{"snappy"}, 204, v2},
		{"2.0 with a blank", "POST", "application/x-protobuf; proto=io.prometheus.write.v2.Request", []string{"snappy"}, 204, v2},
		{"2.0 in quotes", "POST", `application/x-protobuf;proto="io.prometheus.write.v2.Request"`, []string{"snappy"}, 204, v2},
		{"other parameters are ignored", "POST", "application/x-protobuf;charset=utf-8", []string{"snappy"}, 204, v1},
		{"no type is 1.0", "POST", "-", []string{"snappy"}, 204, v1},
		{"no encoding is snappy", "POST", typeV2, nil, 204, v2},
		{"case of the encoding", "POST", typeV1, []string{"Snappy"}, 204, v1},
		{"unknown message", "POST", "application/x-protobuf;proto=io.prometheus.write.v3.Request", []string{"snappy"}, 415, 0},
		{"json", "POST", "application/json", []string{"snappy"}, 415, 0},
		{"broken type", "POST", "application/x-protobuf;proto", []string{"snappy"}, 415, 0},
		{"zstd and snappy", "POST", typeV1, []string{"snappy, zstd"}, 415, 0},
		{"gzip", "POST", typeV2, []string{"gzip"}, 415, 0},
		{"identity", "POST", typeV1, []string{"identity"}, 415, 0},
		{"two encodings", "POST", typeV1, []string{"snappy", "gzip"}, 415, 0},
		{"GET", "GET", typeV1, []string{"snappy"}, 405, 0},
		{"PUT", "PUT", typeV1, []string{"snappy"}, 405, 0},
	}
	for _, path := range []string{"/api/v1/write", "/write", "/api/v1/push", "/api/v1/receive"} {
		for _, tt := range tests {
			t.Run(path+"/"+tt.name, func(t *testing.T) {
				before := len(s.ingest.calls())
				req, err := http.NewRequest(tt.giveMethod, s.url+path, bytes.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				if tt.giveType != "-" {
					req.Header.Set("Content-Type", tt.giveType)
				}
				req.Header["Content-Encoding"] = tt.giveEncoding
				got := s.do(req)
				if got.code != tt.want {
					t.Fatalf("got %d %q, want %d", got.code, got.body, tt.want)
				}
				calls := s.ingest.calls()[before:]
				if tt.want != http.StatusNoContent {
					if len(calls) != 0 {
						t.Errorf("a refused request reached ingest")
					}
					if tt.want == http.StatusMethodNotAllowed && got.header.Get("Allow") != "POST" {
						t.Errorf("got Allow %q, want POST", got.header.Get("Allow"))
					}
					return
				}
				if len(calls) != 1 {
					t.Fatalf("got %d calls, want 1", len(calls))
				}
				c := calls[0]
				if c.GetMessageType() != tt.wantMessage || c.GetEncoding() != ingestv1.Encoding_ENCODING_SNAPPY {
					t.Errorf("got %s, %s", c.GetMessageType(), c.GetEncoding())
				}
				if !bytes.Equal(c.GetPayload(), body) {
					t.Errorf("payload changed on the way")
				}
				if c.GetCallerId() != "127.0.0.1" {
					t.Errorf("got caller %q, want 127.0.0.1", c.GetCallerId())
				}
				wantWritten := ""
				if tt.wantMessage == v2 {
					wantWritten = "0 0 0"
				}
				if w := writtenOf(got.header); w != wantWritten {
					t.Errorf("got written headers %q, want %q", w, wantWritten)
				}
			})
		}
	}
}

// TestWriteEncodings: a body is what it begins as, because a vmagent's header may name the other encoding.
func TestWriteEncodings(t *testing.T) {
	s := start(t, func(c *gateway.Config) { c.MaxDecompressedBytes = 1000 })
	snappyBody := snappy.Encode(nil, []byte("message"))
	// A frame of one segment that declares 7 bytes, and one raw block with them.
	zstdBody := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 1 << 5, 7, 7<<3 | 1, 0, 0}, "message"...)
	// One that declares 256 + 0xffff bytes.
	zstdBomb := []byte{0x28, 0xb5, 0x2f, 0xfd, 1<<6 | 1<<5, 0xff, 0xff, 1, 0, 0}
	const isSnappy, isZstd = ingestv1.Encoding_ENCODING_SNAPPY, ingestv1.Encoding_ENCODING_ZSTD
	tests := []struct {
		name         string
		giveEncoding string
		give         []byte
		want         int
		wantEncoding ingestv1.Encoding
	}{
		{"snappy", "snappy", snappyBody, 204, isSnappy},
		{"zstd", "zstd", zstdBody, 204, isZstd},
		{"case", "ZSTD", zstdBody, 204, isZstd},
		{"no header, zstd", "", zstdBody, 204, isZstd},
		{"snappy from the queue of a vmagent", "zstd", snappyBody, 204, isSnappy},
		{"zstd from the queue of a vmagent", "snappy", zstdBody, 204, isZstd},
		{"zstd over the limit", "zstd", zstdBomb, 413, 0},
		{"half a zstd header", "zstd", zstdBody[:5], 400, 0},
		{"neither", "zstd", []byte{0xff}, 400, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(s.ingest.calls())
			req, err := http.NewRequest(http.MethodPost, s.url+"/api/v1/write", bytes.NewReader(tt.give))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", typeV1)
			req.Header.Set("Content-Encoding", tt.giveEncoding)
			req.Header.Set("X-VictoriaMetrics-Remote-Write-Version", "1")
			got := s.do(req)
			if got.code != tt.want {
				t.Fatalf("got %d %q, want %d", got.code, got.body, tt.want)
			}
			calls := s.ingest.calls()[before:]
			if tt.want != 204 {
				if len(calls) != 0 {
					t.Error("a refused body reached ingest")
				}
				return
			}
			if len(calls) != 1 || calls[0].GetEncoding() != tt.wantEncoding || !bytes.Equal(calls[0].GetPayload(), tt.give) {
				t.Errorf("got %v, want %s and the body as it came", calls, tt.wantEncoding)
			}
		})
	}
	for _, method := range []string{http.MethodGet, http.MethodPost} { // the question of older vmagents
		req, err := http.NewRequest(method, s.url+"/api/v1/write?get_vm_proto_version=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.do(req); got.code != 200 || got.body != "1" {
			t.Errorf("%s: got %d %q, want 200 and the version", method, got.code, got.body)
		}
	}
	if got := s.post("/api/v1/write?x=1", typeV1, snappyBody); got.code != 204 {
		t.Errorf("another query: got %d, want 204", got.code)
	}
}

// TestWriteAnswersBeforeBody sends headers and never a body: what is wrong with the headers is answered all the same.
func TestWriteAnswersBeforeBody(t *testing.T) {
	s := start(t, nil)
	tests := []struct {
		name, give string
		want       int
	}{
		{"type", "Content-Type: text/plain\r\nContent-Length: 1000", 415},
		{"message", "Content-Type: application/x-protobuf;proto=nonsense\r\nContent-Length: 1000", 415},
		{"encoding", "Content-Encoding: gzip\r\nContent-Length: 1000", 415},
		{"encoding, chunked", "Content-Encoding: gzip\r\nTransfer-Encoding: chunked", 415},
		{"declared length", "Content-Length: 33554433", 413},
	}
	for _, path := range []string{"/api/v1/write", "/api/v1/read"} {
		for _, tt := range tests {
			if path == "/api/v1/read" && tt.name == "message" {
				continue // reads have no parameter
			}
			t.Run(path+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = c.Close() }()
				if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
					t.Fatal(err)
				}
				if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: gateway\r\n%s\r\n\r\n", path, tt.give); err != nil {
					t.Fatal(err)
				}
				res, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					t.Fatalf("no answer: %v", err)
				}
				defer func() { _ = res.Body.Close() }()
				if res.StatusCode != tt.want {
					t.Errorf("got %d, want %d", res.StatusCode, tt.want)
				}
				if _, err := io.Copy(io.Discard, c); err != nil {
					t.Errorf("the gateway keeps waiting for the body: %v", err)
				}
			})
		}
	}
}

func TestWriteAccount(t *testing.T) {
	s := start(t, nil)
	var res *ingestv1.WriteResponse
	s.ingest.write = func(context.Context, *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) { return res, nil }
	counts := func(received, stored, duplicate, rejected, deferred uint64) *ingestv1.Counts {
		return &ingestv1.Counts{Received: received, Stored: stored, Duplicate: duplicate, Rejected: rejected, Deferred: deferred}
	}
	tests := []struct {
		name        string
		give        *ingestv1.WriteResponse
		want        int // in 2.0
		wantV1      int // when that differs, with no text
		wantWritten string
		wantText    string
	}{
		{
			"all stored",
			&ingestv1.WriteResponse{Ledger: &ingestv1.Ledger{Samples: counts(10, 8, 2, 0, 0), Histograms: counts(3, 3, 0, 0, 0), Exemplars: counts(2, 1, 1, 0, 0)}},
			204, 0, "10 3 2", "",
		},
		{
			"only exemplars, metadata and start timestamps rejected",
			&ingestv1.WriteResponse{Ledger: &ingestv1.Ledger{
				Samples: counts(10, 10, 0, 0, 0), Exemplars: counts(2, 0, 0, 2, 0), Metadata: counts(1, 0, 0, 1, 0), StartTimestamps: counts(4, 0, 0, 4, 0),
			}},
			204, 0, "10 0 0", "",
		},
		{
			"an exemplar of a series without a name, metadata of unknown symbols",
			&ingestv1.WriteResponse{
				Ledger: &ingestv1.Ledger{Samples: counts(10, 10, 0, 0, 0), Exemplars: counts(2, 1, 0, 1, 0), Metadata: counts(3, 1, 0, 2, 0)},
				Rejections: []*ingestv1.Rejection{
					{Kind: "metadata", Reason: "metadata_too_large", Count: 1},
					{Kind: "metadata", Reason: "invalid_symbols", Count: 1}, {Kind: "exemplars", Reason: "missing_metric_name", Count: 1},
				},
			},
			400, 204, "10 0 1",
			"samples: 0 of 10 rejected, 10 written; exemplars: 1 of 2 rejected, 1 written; metadata: 2 of 3 rejected, 1 written; " +
				"reasons: metadata invalid_symbols 1, exemplars missing_metric_name 1, metadata metadata_too_large 1\n",
		},
		{
			"some samples rejected",
			&ingestv1.WriteResponse{
				Ledger:     &ingestv1.Ledger{Samples: counts(10, 6, 1, 3, 0), Exemplars: counts(2, 0, 0, 2, 0)},
				Rejections: []*ingestv1.Rejection{{Kind: "samples", Reason: "missing_metric_name", Count: 3, Examples: []string{"{job=\"a\nb\"}"}}},
			},
			400, 0, "7 0 0",
			`samples: 3 of 10 rejected, 7 written; exemplars: 2 of 2 rejected, 0 written; reasons: samples missing_metric_name 3; examples: missing_metric_name: {job="a b"}` + "\n",
		},
		{
			"all histograms rejected",
			&ingestv1.WriteResponse{Ledger: &ingestv1.Ledger{Samples: counts(2, 2, 0, 0, 0), Histograms: counts(3, 0, 0, 3, 0)}},
			400, 0, "2 0 0", "samples: 0 of 2 rejected, 2 written; histograms: 3 of 3 rejected, 0 written\n",
		},
		{
			"deferred counts for nothing, whatever else happened",
			&ingestv1.WriteResponse{
				Ledger:         &ingestv1.Ledger{Samples: counts(10, 6, 0, 2, 2)},
				DeferredReason: "throttled by Timestream", RetryAfter: durationpb.New(2 * time.Second),
			},
			503, 0, "0 0 0", "try again: throttled by Timestream\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res = tt.give
			for _, contentType := range []string{typeV1, typeV2} {
				got := s.post("/api/v1/write", contentType, snappy.Encode(nil, []byte("x")))
				want, wantText := tt.want, tt.wantText
				if contentType == typeV1 && tt.wantV1 != 0 {
					want, wantText = tt.wantV1, ""
				}
				if got.code != want || got.body != wantText {
					t.Errorf("%s: got %d %q, want %d %q", contentType, got.code, got.body, want, wantText)
				}
				wantWritten := ""
				if contentType == typeV2 {
					wantWritten = tt.wantWritten
				}
				if w := writtenOf(got.header); w != wantWritten {
					t.Errorf("%s: got written headers %q, want %q", contentType, w, wantWritten)
				}
				checkRetryAfter(t, got, want == 503)
				if want != 204 && !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
					t.Errorf("got Content-Type %q, want plain text", got.header.Get("Content-Type"))
				}
			}
		})
	}
}

func checkRetryAfter(t *testing.T, got answer, want bool) {
	t.Helper()
	header := got.header.Get("Retry-After")
	if !want {
		if header != "" {
			t.Errorf("got Retry-After %q with %d, want none", header, got.code)
		}
		return
	}
	if n, err := strconv.Atoi(header); err != nil || n < 1 || n > 5 {
		t.Errorf("got Retry-After %q, want 1 to 5", header)
	}
}

// TestWriteTextLimit holds the text to what Prometheus reads of it, with the counts first.
func TestWriteTextLimit(t *testing.T) {
	s := start(t, nil)
	res := &ingestv1.WriteResponse{Ledger: &ingestv1.Ledger{Samples: &ingestv1.Counts{Received: 2000, Stored: 1000, Rejected: 1000}}}
	for i := range 20 {
		res.Rejections = append(res.Rejections, &ingestv1.Rejection{
			Kind: "samples", Reason: fmt.Sprintf("reason_%02d", i), Count: uint64(50),
			Examples: []string{strings.Repeat("ü", 3000), "\x00\n" + strings.Repeat("y", 3000)},
		})
	}
	s.ingest.write = func(context.Context, *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) { return res, nil }
	got := s.post("/api/v1/write", typeV2, snappy.Encode(nil, []byte("x")))
	if got.code != 400 {
		t.Fatalf("got %d", got.code)
	}
	if len(got.body) > 1024 {
		t.Errorf("text has %d bytes, want at most 1024", len(got.body))
	}
	if want := "samples: 1000 of 2000 rejected, 1000 written; reasons: samples reason_00 50, "; !strings.HasPrefix(got.body, want) {
		t.Errorf("got %q, want it to begin with %q", got.body, want)
	}
	if !strings.Contains(got.body, "reason_19 50") || !strings.Contains(got.body, "examples: reason_00: üü") {
		t.Errorf("a count of a reason or the first example is missing: %q", got.body)
	}
	if text := strings.TrimSuffix(got.body, "\n"); strings.ContainsAny(text, "\n\x00") || strings.ToValidUTF8(text, "") != text {
		t.Errorf("not one line of valid UTF-8: %q", text)
	}
}

func TestWriteErrors(t *testing.T) {
	s := start(t, nil)
	var give error
	s.ingest.write = func(context.Context, *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) { return nil, give }
	detailed, err := status.New(codes.InvalidArgument, "40 MiB decompressed").WithDetails(&errdetails.ErrorInfo{Reason: "DECOMPRESSED_TOO_LARGE", Domain: "tributary"})
	if err != nil {
		t.Fatal(err)
	}
	own := func(c codes.Code) error {
		st, err := status.New(c, "text").WithDetails(&errdetails.ErrorInfo{Reason: "NOT_YOURS", Domain: "tributary"})
		if err != nil {
			t.Fatal(err)
		}
		return st.Err()
	}
	tests := []struct {
		give  error
		want  int
		retry bool
	}{
		{status.Error(codes.InvalidArgument, "text"), 400, false},
		{detailed.Err(), 413, false},
		{status.Error(codes.ResourceExhausted, "text"), 503, true},
		{status.Error(codes.Unavailable, "text"), 503, true},
		{status.Error(codes.DeadlineExceeded, "text"), 503, true},
		{status.Error(codes.NotFound, "text"), 404, false},
		{own(codes.PermissionDenied), 403, false},
		{own(codes.Unauthenticated), 401, false},
		{status.Error(codes.PermissionDenied, "403 of a proxy"), 503, true}, // which the sender cannot help
		{status.Error(codes.Unauthenticated, "401 of a proxy"), 503, true},
		{status.Error(codes.ResourceExhausted, "grpc: received message larger than max (9 vs. 8)"), 413, false}, // grpc-go's own
		{status.Error(codes.ResourceExhausted, "grpc: received message after decompression larger than max 8"), 413, false},
		{status.Error(codes.ResourceExhausted, "trying to send message larger than max (9 vs. 8)"), 413, false},
		{status.Error(codes.Unimplemented, "text"), 501, false},
		{status.Error(codes.Internal, "text"), 500, false},
		{status.Error(codes.Canceled, "text"), 503, true}, // the caller is still there, and must not drop its samples
		{errors.New("text"), 500, false},                  // codes.Unknown
	}
	for _, tt := range tests {
		t.Run(status.Code(tt.give).String(), func(t *testing.T) {
			give = tt.give
			got := s.post("/api/v1/write", typeV2, snappy.Encode(nil, []byte("x")))
			if got.code != tt.want {
				t.Errorf("got %d, want %d", got.code, tt.want)
			}
			if want := grpcStatus(tt.give).Message(); !strings.HasPrefix(strings.TrimPrefix(got.body, httperr.Unreachable("ingest")), want) {
				t.Errorf("got text %q, want it to begin with %q", got.body, want)
			}
			if tt.want == 413 && strings.HasPrefix(got.body, "grpc: ") && !strings.Contains(got.body, "--ingest.max-decompressed-bytes") {
				t.Errorf("got text %q, want it to name the flag", got.body)
			}
			if w := writtenOf(got.header); w != "0 0 0" {
				t.Errorf("got written headers %q, want zeros", w)
			}
			checkRetryAfter(t, got, tt.retry)
		})
	}
}

func TestWriteBodies(t *testing.T) {
	s := start(t, func(c *gateway.Config) {
		c.MaxRequestBytes, c.MaxDecompressedBytes = 200_000, 1_000_000
	})
	claim := func(n uint64, rest int) []byte { return append(binary.AppendUvarint(nil, n), make([]byte, rest)...) }
	tests := []struct {
		name     string
		give     []byte
		want     int
		wantText string
	}{
		{"empty", nil, 400, "not a snappy block"},
		{"header without end", []byte{0xff, 0xff, 0xff}, 400, "not a snappy block"},
		{"header beyond 32 bits", claim(1<<40, 10), 400, "not a snappy block"},
		{"empty message", []byte{0}, 204, ""},
		{"at the limit", claim(500, 199_998), 204, ""},
		{"over the limit", claim(500, 199_999), 413, "--web.max-request-bytes"},
		{"far over the limit", claim(500, 5_000_000), 413, "--web.max-request-bytes"},
		{"decompressed at the limit", claim(1_000_000, 10), 204, ""},
		{"decompressed over the limit", claim(1_000_001, 10), 413, "--web.max-decompressed-bytes"},
	}
	for _, tt := range tests {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/chunked=%t", tt.name, chunked), func(t *testing.T) {
				before := len(s.ingest.calls())
				// No more is sent than has to be there for an answer: a client that is still sending when it comes might see the
				// connection end instead.
				sent, held, release := tt.give, (*io.PipeReader)(nil), (*io.PipeWriter)(nil)
				if len(sent) > 200_000 {
					held, release = io.Pipe()
					defer func() { _ = release.Close() }()
					if sent = sent[:200_001]; !chunked {
						sent = nil
					}
				}
				var body io.Reader = bytes.NewReader(sent)
				if held != nil {
					body = io.MultiReader(body, held)
				}
				req, err := http.NewRequest(http.MethodPost, s.url+"/api/v1/write", io.MultiReader(body)) // hides the length
				if err != nil {
					t.Fatal(err)
				}
				if !chunked {
					req.ContentLength = int64(len(tt.give))
				}
				got := s.do(req)
				if got.code != tt.want || !strings.Contains(got.body, tt.wantText) {
					t.Errorf("got %d %q, want %d %q", got.code, got.body, tt.want, tt.wantText)
				}
				calls := s.ingest.calls()[before:]
				switch {
				case tt.want != 204 && len(calls) != 0:
					t.Errorf("a refused body reached ingest")
				case tt.want == 204 && (len(calls) != 1 || !bytes.Equal(calls[0].GetPayload(), tt.give)):
					t.Errorf("payload changed on the way")
				}
			})
		}
	}
}

// TestWriteTruncatedBody cuts the connection's sending side in the middle of the body.
func TestWriteTruncatedBody(t *testing.T) {
	s := start(t, nil)
	for _, framing := range []string{"Content-Length: 1000\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3e8\r\nabc"} {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if _, err := fmt.Fprintf(c, "POST /api/v1/write HTTP/1.1\r\nHost: gateway\r\n%s", framing); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "after 3 bytes") {
			t.Errorf("got %d %q, want 400 and how much came", res.StatusCode, body)
		}
	}
	if n := len(s.ingest.calls()); n != 0 {
		t.Errorf("%d truncated bodies reached ingest", n)
	}
}

// TestWriteTricklingBody sends a byte now and then: the request ends at its deadline, with an answer that makes the
// sender come back.
func TestWriteTricklingBody(t *testing.T) {
	s := start(t, func(c *gateway.Config) { c.WriteTimeout = 150 * time.Millisecond })
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "POST /api/v1/write HTTP/1.1\r\nHost: gateway\r\nContent-Length: 1000\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				if _, err := c.Write([]byte("x")); err != nil {
					return
				}
			}
		}
	})
	defer wg.Wait()
	defer close(stop)
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer func() { _ = res.Body.Close() }()
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "--write.timeout") || res.Header.Get("Retry-After") == "" {
		t.Errorf("got %d %q, want 503 that names --write.timeout", res.StatusCode, body)
	}
	s.await("memory given back", func() bool { return s.metric("tributary_gateway_inflight_bytes") == 0 })
}

// TestWriteClaims sends few bytes that claim to be many, by Content-Length and by snappy's header: no memory is taken for a
// claim, and so no time either.
func TestWriteClaims(t *testing.T) {
	// Questions for the health of the roles allocate too, so there are few.
	s := start(t, func(c *gateway.Config) { c.HealthInterval = 10 * time.Second })
	bomb := binary.AppendUvarint(nil, 1<<30)
	bomb = append(bomb, make([]byte, 20)...)
	allocated := func(f func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	for _, path := range []string{"/api/v1/write", "/api/v1/read"} {
		bytes := allocated(func() {
			for range 10 {
				if got := s.post(path, typeV1, bomb); got.code != 413 {
					t.Errorf("%s: got %d, want 413", path, got.code)
				}
			}
		})
		if bytes > 10<<20 {
			t.Errorf("%s: 10 bombs took %d bytes of memory, want at most 1 MiB each", path, bytes)
		}
	}
	// A claim within the limits, of which nothing follows.
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	bytes := allocated(func() {
		if _, err := io.WriteString(c, "POST /api/v1/write HTTP/1.1\r\nHost: gateway\r\nContent-Length: 33554432\r\n\r\nx"); err != nil {
			t.Fatal(err)
		}
		s.await("the request holds its first buffer", func() bool { return s.metric("tributary_gateway_inflight_bytes") > 0 })
	})
	if held := s.metric("tributary_gateway_inflight_bytes"); held > 64<<10 {
		t.Errorf("a request of which one byte came holds %v bytes", held)
	}
	if bytes > 8<<20 {
		t.Errorf("a claim took %d bytes of memory", bytes)
	}
}

// TestWriteDeadline: the time of a write is passed on, and an ingest service that does not answer becomes a 503.
func TestWriteDeadline(t *testing.T) {
	s := start(t, func(c *gateway.Config) { c.WriteTimeout = time.Minute })
	seen := make(chan time.Duration, 1)
	s.ingest.write = func(ctx context.Context, _ *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
		deadline, _ := ctx.Deadline()
		seen <- time.Until(deadline)
		return &ingestv1.WriteResponse{}, nil
	}
	body := snappy.Encode(nil, []byte("x"))
	if got := s.post("/api/v1/write", typeV2, body); got.code != 204 {
		t.Fatalf("got %d %q, want 204", got.code, got.body)
	}
	if left := <-seen; left <= 0 || left > time.Minute {
		t.Errorf("ingest saw %s left, want at most the timeout", left)
	}

	s = start(t, func(c *gateway.Config) { c.WriteTimeout = 100 * time.Millisecond })
	s.ingest.write = func(ctx context.Context, _ *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	got := s.post("/api/v1/write", typeV2, body)
	if got.code != 503 || writtenOf(got.header) != "0 0 0" {
		t.Errorf("got %d %q, want 503", got.code, got.body)
	}
	checkRetryAfter(t, got, true)
}

// TestWriteClientGone: a client that goes away takes its call with it.
func TestWriteClientGone(t *testing.T) {
	s := start(t, nil)
	called, ended := make(chan struct{}), make(chan error, 1)
	s.ingest.write = func(ctx context.Context, _ *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
		close(called)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/api/v1/write", bytes.NewReader(snappy.Encode(nil, []byte("x"))))
	if err != nil {
		t.Fatal(err)
	}
	go func() { <-called; cancel() }()
	if res, err := s.client.Do(req); err == nil {
		_ = res.Body.Close()
		t.Fatal("the call was not canceled")
	}
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("ingest saw %v, want a cancellation", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("ingest still works for a client that went away")
	}
	s.await("499 counted", func() bool {
		return s.metric(`tributary_gateway_http_requests_total`, "path", "/api/v1/write", "code", "499") == 1
	})
}

// TestWriteOverload: what is over a bound is refused at once, names the flag, and gives everything back.
func TestWriteOverload(t *testing.T) {
	s := start(t, func(c *gateway.Config) {
		c.MaxInFlightRequests = 2
		c.MaxRequestBytes, c.MaxInFlightBytes = 100_000, 200_000
	})
	release, entered := make(chan struct{}), make(chan struct{}, 2)
	s.ingest.write = func(context.Context, *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
		entered <- struct{}{}
		<-release
		return &ingestv1.WriteResponse{}, nil
	}
	body := append(binary.AppendUvarint(nil, 1000), make([]byte, 99_000)...)
	var wg sync.WaitGroup
	post := func() { wg.Go(func() { s.post("/api/v1/write", typeV2, body) }) }
	post()
	<-entered
	post()
	<-entered
	got := s.post("/api/v1/write", typeV2, body)
	if got.code != 503 || !strings.Contains(got.body, "--web.max-inflight-requests") || writtenOf(got.header) != "0 0 0" {
		t.Errorf("third request: got %d %q, want 503 that names the flag", got.code, got.body)
	}
	checkRetryAfter(t, got, true)
	if got := s.post("/api/v1/write", "text/plain", body); got.code != 415 {
		t.Errorf("what is wrong stays wrong under load: got %d, want 415", got.code)
	}
	close(release)
	wg.Wait()
	s.await("everything given back", func() bool {
		return s.metric("tributary_gateway_inflight_bytes") == 0 && s.metric("tributary_gateway_inflight_requests") == 0
	})

	s = start(t, func(c *gateway.Config) { c.MaxRequestBytes, c.MaxInFlightBytes = 100_000, 150_000 })
	release = make(chan struct{})
	s.ingest.write = func(context.Context, *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
		entered <- struct{}{}
		<-release
		return &ingestv1.WriteResponse{}, nil
	}
	wg.Go(func() { s.post("/api/v1/write", typeV2, body) })
	<-entered
	got = s.post("/api/v1/write", typeV2, body)
	if got.code != 503 || !strings.Contains(got.body, "--web.max-inflight-bytes") {
		t.Errorf("too many bytes: got %d %q, want 503 that names the flag", got.code, got.body)
	}
	close(release)
	wg.Wait()
	if got := s.post("/api/v1/write", typeV2, body); got.code != 204 {
		t.Errorf("after the overload: got %d, want 204", got.code)
	}
}

// TestWriteFairness: while one address floods, another that was there before gets in each time, and the flood has what is
// left.
func TestWriteFairness(t *testing.T) {
	s := start(t, func(c *gateway.Config) { c.MaxInFlightRequests = 6 })
	release := make(chan struct{})
	entered := make(chan struct{}, 6)
	s.ingest.write = func(_ context.Context, req *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
		if req.GetCallerId() == "127.0.0.1" {
			entered <- struct{}{}
			<-release
		}
		return &ingestv1.WriteResponse{}, nil
	}
	body := snappy.Encode(nil, []byte("x"))
	// All of 127.0.0.0/8 is this machine, so a second caller is one with another address of it.
	transport := &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext}
	defer transport.CloseIdleConnections()
	quiet := func() int {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, s.url+"/api/v1/write", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := (&http.Client{Transport: transport}).Do(req)
		if err != nil {
			t.Skipf("this system has one loopback address only: %v", err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	if got := quiet(); got != 204 {
		t.Fatalf("got %d", got)
	}
	var flood sync.WaitGroup
	for range 3 {
		flood.Go(func() { s.post("/api/v1/write", typeV1, body) })
		<-entered
	}
	for range 10 {
		if got := s.post("/api/v1/write", typeV1, body); got.code != 503 || !strings.Contains(got.body, "this caller's share is 3") {
			t.Errorf("the flood: got %d %q, want 503 that says why", got.code, got.body)
		}
		if got := quiet(); got != 204 {
			t.Errorf("the quiet caller: got %d, want 204", got)
		}
	}
	if n := s.metric("tributary_gateway_callers"); n != 2 {
		t.Errorf("got %v callers, want 2", n)
	}
	if n := s.metric("tributary_gateway_http_refused_total", "path", "/api/v1/write", "reason", "overloaded_requests_share"); n != 10 {
		t.Errorf("got %v refusals for the share, want 10", n)
	}
	close(release)
	flood.Wait()
	s.await("everything given back", func() bool {
		return s.metric("tributary_gateway_inflight_bytes") == 0 && s.metric("tributary_gateway_inflight_requests") == 0
	})
}

// TestWriteConcurrently proves that a buffer is not used again while a call still needs it.
func TestWriteConcurrently(t *testing.T) {
	s := start(t, nil)
	s.ingest.write = func(_ context.Context, req *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
		p := req.GetPayload()
		if n, err := snappy.DecodedLen(p); err != nil || n != len(p) || len(bytes.Trim(p[8:], string(p[8]))) != 0 {
			return nil, status.Error(codes.InvalidArgument, "mixed payload")
		}
		return &ingestv1.WriteResponse{}, nil
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				size := 3000 + (i*7919+j*104729)%90_000
				body := bytes.Repeat([]byte{byte(i)}, size)
				binary.PutUvarint(body, uint64(size))
				if got := s.post("/api/v1/write", typeV1, body); got.code != 204 {
					t.Errorf("got %d %q", got.code, got.body)
				}
			}
		})
	}
	wg.Wait()
}
