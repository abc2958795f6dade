// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tributary-project/tributary/gateway"
)

// keyPair writes the certificate of httptest, which is for 127.0.0.1, and its key to files.
func keyPair(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	c := s.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: c.Certificate[0]},
		keyFile:  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// TestTLS: by the connector's flags, in HTTP/1.1 and HTTP/2, with the same limits as plain text.
func TestTLS(t *testing.T) {
	certFile, keyFile := keyPair(t)
	s := start(t, func(c *gateway.Config) {
		c.TLS.CertFile, c.TLS.KeyFile = certFile, keyFile
		c.WriteTimeout = 200 * time.Millisecond
	})
	if !strings.HasPrefix(s.url, "https://127.0.0.1:") {
		t.Fatalf("got URL %s", s.url)
	}
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			transport := &http.Transport{Protocols: &http.Protocols{}}
			transport.Protocols.SetHTTP1(protocol == "HTTP/1.1")
			transport.Protocols.SetHTTP2(protocol == "HTTP/2.0")
			server := httptest.NewTLSServer(http.NotFoundHandler()) // for its client configuration only
			transport.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
			server.Close()
			transport.TLSClientConfig.RootCAs = roots
			client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
			defer client.CloseIdleConnections()

			post := func(contentType string, body io.Reader) (*http.Response, string) {
				t.Helper()
				req, err := http.NewRequest(http.MethodPost, s.url+"/api/v1/write", body)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", contentType)
				res, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				text, _ := io.ReadAll(res.Body)
				_ = res.Body.Close()
				return res, string(text)
			}
			res, _ := post(typeV2, strings.NewReader("\x00"))
			if res.StatusCode != http.StatusNoContent || res.Proto != protocol {
				t.Errorf("got %s by %s", res.Status, res.Proto)
			}
			blocked := func() io.Reader { // a new one each time: the transport closes bodies
				r, w := io.Pipe()
				t.Cleanup(func() { _ = w.Close() })
				return r
			}
			if res, _ := post("text/plain", blocked()); res.StatusCode != http.StatusUnsupportedMediaType {
				t.Errorf("body that blocks: got %s, want 415", res.Status)
			}
			if res, text := post(typeV2, blocked()); res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, "--write.timeout") {
				t.Errorf("body that never ends: got %s %q, want 503", res.Status, text)
			}
			if res, _ := post(typeV2, strings.NewReader("\x00")); res.StatusCode != http.StatusNoContent {
				t.Errorf("afterwards: got %s", res.Status)
			}
		})
	}
	got := s.metric("tributary_gateway_inflight_requests")
	if got != 0 {
		t.Errorf("%v requests still count as in flight", got)
	}
}
