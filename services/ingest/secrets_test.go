// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	statusv1 "github.com/tributary-project/tributary/proto/tributary/status/v1"
	"github.com/tributary-project/tributary/services/ingest/internal/ingesttest"
	"github.com/tributary-project/tributary/timestream/client"
)

// TestNoCredentialsOutside lets an endpoint repeat the headers of each request in every sort of answer, as proxies do that
// show what they got, and looks for them in all that ingest says: answers, logs of every level, metrics and status.
func TestNoCredentialsOutside(t *testing.T) {
	const key, secret, token = "AKIDOFSOMEBODY", "SecretAccessKeyOfSomebody", "SessionTokenOfSomebody"
	t.Setenv("AWS_ACCESS_KEY_ID", key)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	t.Setenv("AWS_SESSION_TOKEN", token)
	for _, c := range []struct {
		name   string
		status int
		class  string // empty: no JSON, but a page
	}{
		{"bad request of a proxy", 400, "BadRequest"},
		{"page of a proxy", 400, ""},
		{"unauthorized", 401, "Unauthorized"},
		{"forbidden page", 403, ""},
		{"proxy authentication", 407, "ProxyAuthenticationRequired"},
		{"too large", 413, "RequestEntityTooLarge"},
		{"rejected without records", 419, "RejectedRecordsException"},
		{"teapot", 418, "Teapot"},
		{"error", 500, "Whatever"},
		{"error page", 502, ""},
		{"unavailable", 503, "ServiceUnavailable"},
		{"page with status 200", 200, ""},
		{"throttled", 429, "ThrottlingException"},
		{"internal", 500, "InternalServerException"},
		{"moved", 421, "InvalidEndpointException"},
		{"no table", 404, "ResourceNotFoundException"},
		{"denied", 403, "AccessDeniedException"},
		{"quota", 402, "ServiceQuotaExceededException"},
		{"invalid", 400, "ValidationException"},
		{"signature", 403, "InvalidSignatureException"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var mu sync.Mutex
			var signatures []string
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if _, signature, ok := strings.Cut(r.Header.Get("Authorization"), "Signature="); ok {
					mu.Lock()
					signatures = append(signatures, signature)
					mu.Unlock()
				}
				var echo bytes.Buffer
				_ = r.Header.Write(&echo)
				if c.class == "" {
					w.Header().Set("Content-Type", "text/html")
					w.WriteHeader(c.status)
					fmt.Fprintf(w, "<pre>%s</pre>", echo.String())
					return
				}
				w.Header().Set("Content-Type", "application/x-amz-json-1.0")
				w.WriteHeader(c.status)
				_ = json.NewEncoder(w).Encode(map[string]string{"__type": c.class, "message": echo.String()})
			}))
			defer srv.Close()
			cc := client.DefaultConfig()
			cc.Endpoint = srv.URL
			writer, err := client.NewWrite(t.Context(), cc)
			if err != nil {
				t.Fatal(err)
			}
			querier, err := client.NewQuery(t.Context(), cc)
			if err != nil {
				t.Fatal(err)
			}
			log, registry := &syncBuffer{}, prometheus.NewRegistry()
			cfg := quick()
			cfg.WriteRetries = 1
			s, err := NewService(cfg, Deps{
				Writer: client.NewRecordsWriter(writer, time.Now), Querier: client.NewQuerier(querier), Target: cc.Target(),
				Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), Registerer: registry, Now: time.Now,
			})
			if err != nil {
				t.Fatal(err)
			}
			res, err := s.Write(t.Context(), request(t, rw2, ingesttest.Load(3, 3, 0)...))
			said := fmt.Sprint(res, err, log.String())
			status, err := s.GetStatus(t.Context(), &statusv1.GetStatusRequest{})
			said += fmt.Sprint(status, err)
			families, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			var metrics bytes.Buffer
			for _, f := range families {
				if _, err := expfmt.MetricFamilyToText(&metrics, f); err != nil {
					t.Fatal(err)
				}
			}
			said += metrics.String()
			mu.Lock()
			defer mu.Unlock()
			if len(signatures) == 0 {
				t.Fatal("the endpoint saw no signed request")
			}
			for _, word := range append(signatures, key, secret, token) {
				if strings.Contains(said, word) {
					t.Errorf("%q is in what ingest says:\n%s", word, said)
				}
			}
		})
	}
}
