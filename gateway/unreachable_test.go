// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/golang/snappy"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
)

// TestUnreachable: whoever calls is told once which of the two services is away, on every path that needs it.
func TestUnreachable(t *testing.T) {
	s := start(t, nil)
	s.ingestRole.stop()
	s.queryRole.stop()
	s.await("both are known to be down", func() bool { return s.gateway.Ready("ingest") != nil && s.gateway.Ready("query") != nil })
	conn, err := grpc.NewClient(s.gateway.GRPCAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })

	post := func(path, contentType string, body []byte) func() (int, string) {
		return func() (int, string) {
			got := s.post(path, contentType, body)
			return got.code, got.body
		}
	}
	postJSON := func(path, body string) func() (int, string) {
		return post("/api/tributary/v1/"+path, "application/json", []byte(body))
	}
	get := func(path string) func() (int, string) {
		return func() (int, string) {
			got := s.get(path)
			return got.code, got.body
		}
	}
	byGRPC := func(err error) (int, string) {
		if status.Code(err) != codes.Unavailable {
			return http.StatusInternalServerError, err.Error()
		}
		return http.StatusServiceUnavailable, status.Convert(err).Message()
	}
	for _, tt := range []struct {
		name, role string
		call       func() (int, string)
	}{
		{"remote write", "ingest", post("/api/v1/write", typeV2, snappy.Encode(nil, []byte("x")))},
		{"OTLP", "ingest", func() (int, string) {
			got := s.export("POST", typeJSON, "", []byte(`{}`))
			return got.code, got.body
		}},
		{"write as JSON", "ingest", postJSON("write", `{"payload": "AA=="}`)},
		{"status of ingest", "ingest", get("/api/tributary/v1/status/ingest")},
		{"write by gRPC", "ingest", func() (int, string) {
			_, err := ingestv1.NewIngestServiceClient(conn).Write(t.Context(), &ingestv1.WriteRequest{})
			return byGRPC(err)
		}},
		{"PromQL", "query", get("/api/v1/query?query=up")},
		{"PromQL over a range", "query", get("/api/v1/query_range?query=up&start=0&end=1&step=1")},
		{"labels", "query", get("/api/v1/labels")},
		{"values of a label", "query", get("/api/v1/label/a/values")},
		{"series", "query", get("/api/v1/series?match[]=up")},
		{"remote read", "query", post("/api/v1/read", typeV1, readRequest(t, query(0, 1)))},
		{"SQL", "query", postJSON("sql", `{"statement": "SELECT 1"}`)},
		{"PromQL as JSON", "query", postJSON("query", `{"query": "up"}`)},
		{"status of query", "query", get("/api/tributary/v1/status/query")},
		{"read by gRPC", "query", func() (int, string) {
			stream, err := queryv1.NewQueryServiceClient(conn).SQL(t.Context(), &queryv1.SQLRequest{Statement: "SELECT 1"})
			if err != nil {
				t.Fatal(err)
			}
			_, err = stream.Recv()
			return byGRPC(err)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, body := tt.call()
			want := "the " + tt.role + " service cannot be reached (--" + tt.role + ".address of the gateway"
			if code != http.StatusServiceUnavailable || strings.Count(body, want) != 1 {
				t.Errorf("got %d %s, want 503 and %q once", code, body, want)
			}
			if strings.HasPrefix(body, "{") && !json.Valid([]byte(body)) {
				t.Errorf("got %s, which is no JSON", body)
			}
		})
	}
}
