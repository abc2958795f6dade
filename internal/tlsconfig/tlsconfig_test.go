// SPDX-License-Identifier: Apache-2.0

package tlsconfig_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"flag"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tributary-project/tributary/internal/tlsconfig"
)

// authority issues certificates.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
	next int64
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir(), next: 2}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.key, a.file = key, filepath.Join(a.dir, "ca.pem")
	a.write(a.file, "CERTIFICATE", der)
	return a
}

func (a *authority) write(file, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// issue writes a certificate for gateway.example and its key to the files of that name, and returns its serial number.
// Modification times move forward by more than any file system rounds to.
func (a *authority) issue(name string) (certFile, keyFile string, serial int64) {
	a.t.Helper()
	certFile, keyFile = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	serial = a.next
	a.next++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"gateway.example"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(certFile, "CERTIFICATE", der)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(keyFile, "PRIVATE KEY", keyDER)
	a.touch(certFile, serial)
	a.touch(keyFile, serial)
	return certFile, keyFile, serial
}

func (a *authority) touch(file string, n int64) {
	a.t.Helper()
	when := time.Now().Add(time.Duration(n) * 5 * time.Second)
	if err := os.Chtimes(file, when, when); err != nil {
		a.t.Fatal(err)
	}
}

// handshake connects two configurations and returns what each side says: the server's serial number as the client sees it, and
// the errors. Data goes both ways, because a client of TLS 1.3 learns only then that its certificate was refused.
func handshake(t *testing.T, server, client *tls.Config) (serial int64, serverErr, clientErr error) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		s := tls.Server(conn, server)
		_, err = s.Write([]byte("x"))
		_ = s.Close()
		done <- err
	}()
	raw, err := (&net.Dialer{Timeout: time.Minute}).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(raw, client)
	_, clientErr = io.ReadFull(c, make([]byte, 1))
	if certs := c.ConnectionState().PeerCertificates; len(certs) > 0 {
		serial = certs[0].SerialNumber.Int64()
	}
	_ = c.Close()
	return serial, <-done, clientErr
}

func server(t *testing.T, s tlsconfig.Server) *tls.Config {
	t.Helper()
	c, err := s.Config()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func client(t *testing.T, c tlsconfig.Client) *tls.Config {
	t.Helper()
	out, err := c.Config()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestHandshakes(t *testing.T) {
	ours, other := newAuthority(t, "ours"), newAuthority(t, "other")
	cert, key, _ := ours.issue("server")
	clientCert, clientKey, _ := ours.issue("client")
	strangeCert, strangeKey, _ := other.issue("client")
	plain := tlsconfig.Server{CertFile: cert, KeyFile: key}
	mutual := tlsconfig.Server{CertFile: cert, KeyFile: key, ClientCAFile: ours.file}
	base := tlsconfig.Client{Enabled: true, CAFile: ours.file, ServerName: "gateway.example"}
	with := func(edit func(*tlsconfig.Client)) tlsconfig.Client {
		c := base
		edit(&c)
		return c
	}
	tests := []struct {
		name   string
		server tlsconfig.Server
		client tlsconfig.Client
		want   bool
	}{
		{"server certificate", plain, base, true},
		{"other name", plain, with(func(c *tlsconfig.Client) { c.ServerName = "else.example" }), false},
		{"other authority", plain, with(func(c *tlsconfig.Client) { c.CAFile = other.file }), false},
		{"authorities of the system", plain, with(func(c *tlsconfig.Client) { c.CAFile = "" }), false},
		{"mutual", mutual, with(func(c *tlsconfig.Client) { c.CertFile, c.KeyFile = clientCert, clientKey }), true},
		{"mutual without a certificate", mutual, base, false},
		{"mutual with a stranger's", mutual, with(func(c *tlsconfig.Client) { c.CertFile, c.KeyFile = strangeCert, strangeKey }), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, serverErr, clientErr := handshake(t, server(t, tt.server), client(t, tt.client))
			if got := serverErr == nil && clientErr == nil; got != tt.want {
				t.Errorf("got server %v, client %v; want success %t", serverErr, clientErr, tt.want)
			}
		})
	}
}

// TestRotation: new files are used without a restart, and a rotation that is half done leaves the old pair in force.
func TestRotation(t *testing.T) {
	a := newAuthority(t, "ours")
	cert, key, first := a.issue("server")
	s := server(t, tlsconfig.Server{CertFile: cert, KeyFile: key})
	c := client(t, tlsconfig.Client{Enabled: true, CAFile: a.file, ServerName: "gateway.example"})
	seen := func() int64 {
		t.Helper()
		serial, serverErr, clientErr := handshake(t, s, c)
		if err := errors.Join(serverErr, clientErr); err != nil {
			t.Fatal(err)
		}
		return serial
	}
	if got := seen(); got != first {
		t.Errorf("got serial %d, want %d", got, first)
	}
	_, _, second := a.issue("server")
	if got := seen(); got != second {
		t.Errorf("after a rotation: got serial %d, want %d", got, second)
	}
	if err := os.WriteFile(cert, []byte("half a certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.touch(cert, 100)
	if got := seen(); got != second {
		t.Errorf("half way through: got serial %d, want still %d", got, second)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if got := seen(); got != second {
		t.Errorf("without a key file: got serial %d, want still %d", got, second)
	}
	_, _, third := a.issue("server")
	if got := seen(); got != third {
		t.Errorf("after it: got serial %d, want %d", got, third)
	}
}

func TestConfigErrors(t *testing.T) {
	a := newAuthority(t, "ours")
	cert, key, _ := a.issue("server")
	garbage := filepath.Join(a.dir, "garbage.pem")
	if err := os.WriteFile(garbage, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		give []string
		want string
	}{
		{[]string{"--x.tls-certificate=" + cert}, "--x.tls-certificate and --x.tls-key"},
		{[]string{"--x.tls-key=" + key}, "--x.tls-certificate and --x.tls-key"},
		{[]string{"--x.tls-client-ca=" + a.file}, "--x.tls-client-ca: needs --x.tls-certificate and --x.tls-key"},
		{[]string{"--x.tls-certificate=missing.pem", "--x.tls-key=" + key}, "missing.pem"},
		{[]string{"--x.tls-certificate=" + garbage, "--x.tls-key=" + key}, garbage},
		{[]string{"--x.tls-certificate=" + cert, "--x.tls-key=" + key, "--x.tls-client-ca=" + garbage}, "--x.tls-client-ca: " + garbage},
	} {
		var s tlsconfig.Server
		fs := flag.NewFlagSet("test", flag.ContinueOnError)
		s.RegisterFlags(fs, "x.", "test")
		if err := fs.Parse(tt.give); err != nil {
			t.Fatal(err)
		}
		if c, err := s.Config(); err == nil || c != nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want an error that names %q", tt.give, err, tt.want)
		}
	}
	for _, tt := range []struct {
		give []string
		want string
	}{
		{[]string{"--x.tls-ca=" + a.file}, "--x.tls"},
		{[]string{"--x.tls-server-name=y"}, "--x.tls"},
		{[]string{"--x.tls", "--x.tls-ca=missing.pem"}, "--x.tls-ca: open missing.pem"},
		{[]string{"--x.tls", "--x.tls-ca=" + garbage}, garbage},
		{[]string{"--x.tls", "--x.tls-certificate=" + cert}, "--x.tls-certificate and --x.tls-key"},
		{[]string{"--x.tls", "--x.tls-certificate=" + cert, "--x.tls-key=" + garbage}, cert},
	} {
		var c tlsconfig.Client
		fs := flag.NewFlagSet("test", flag.ContinueOnError)
		c.RegisterFlags(fs, "x.", "test")
		if err := fs.Parse(tt.give); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Config(); err == nil || got != nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want an error that names %q", tt.give, err, tt.want)
		}
	}
	if c, err := (tlsconfig.Server{}).Config(); c != nil || err != nil {
		t.Errorf("plain text server: got %v %v", c, err)
	}
	if c, err := (tlsconfig.Client{}).Config(); c != nil || err != nil {
		t.Errorf("plain text client: got %v %v", c, err)
	}
}
