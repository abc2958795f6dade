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
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	server := httptest.NewTLSServer(http.NotFoundHandler()) // for its client configuration only
	server.Close()
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			transport := &http.Transport{Protocols: &http.Protocols{}}
			transport.Protocols.SetHTTP1(protocol == "HTTP/1.1")
			transport.Protocols.SetHTTP2(protocol == "HTTP/2.0")
			transport.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
			transport.TLSClientConfig.RootCAs = roots
			client := &http.Client{Transport: transport, Timeout: 2 * time.Minute}
			defer client.CloseIdleConnections()
			patiently(t, 200*time.Millisecond, func(limit time.Duration) bool {
				return byTLS(t, client, protocol, func(c *gateway.Config) { c.TLS.CertFile, c.TLS.KeyFile, c.WriteTimeout = certFile, keyFile, limit })
			})
		})
	}
}

// byTLS writes to a gateway whose time limit ends one of the requests. It returns false when it ended others too.
func byTLS(t *testing.T, client *http.Client, protocol string, edit func(*gateway.Config)) bool {
	s := start(t, edit)
	if !strings.HasPrefix(s.url, "https://127.0.0.1:") {
		t.Fatalf("got URL %s", s.url)
	}
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
	inTime := func(when string) bool {
		t.Helper()
		res, _ := post(typeV2, strings.NewReader("\x00"))
		if res.StatusCode == http.StatusServiceUnavailable {
			return false
		}
		if res.StatusCode != http.StatusNoContent || res.Proto != protocol {
			t.Errorf("%s: got %s by %s", when, res.Status, res.Proto)
		}
		return true
	}
	if !inTime("at first") {
		return false
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
	if !inTime("afterwards") {
		return false
	}
	s.await("everything given back", func() bool { return s.metric("tributary_gateway_inflight_requests") == 0 })
	return true
}
