// SPDX-License-Identifier: Apache-2.0

// Package tlsconfig turns flags into TLS configurations of listeners and clients. Certificates are read again when
// their files change, so that a rotation needs no restart.
package tlsconfig

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"time"
)

// Server is the TLS side of a listener. The zero value means plain text.
type Server struct {
	// CertFile and KeyFile are PEM files; both or neither.
	CertFile, KeyFile string
	// ClientCAFile holds the authorities of client certificates; set, a client must show one.
	ClientCAFile string
	prefix       string
}

// RegisterFlags registers <prefix>tls-certificate, <prefix>tls-key and <prefix>tls-client-ca.
func (s *Server) RegisterFlags(fs *flag.FlagSet, prefix, listener string) {
	s.prefix = prefix
	fs.StringVar(&s.CertFile, prefix+"tls-certificate", s.CertFile, "PEM file with the server certificate of the "+listener+" listener. Empty: plain text.")
	fs.StringVar(&s.KeyFile, prefix+"tls-key", s.KeyFile, "PEM file with the private key of the "+listener+" listener.")
	fs.StringVar(&s.ClientCAFile, prefix+"tls-client-ca", s.ClientCAFile, "PEM file with the authorities that client certificates of the "+listener+" listener must come from (mutual TLS). Empty: no client certificate is asked for.")
}

// Enabled tells whether the listener speaks TLS.
func (s Server) Enabled() bool { return s.CertFile != "" || s.KeyFile != "" || s.ClientCAFile != "" }

// Config returns the configuration, or nil for plain text.
func (s Server) Config() (*tls.Config, error) {
	if !s.Enabled() {
		return nil, nil
	}
	if s.CertFile == "" && s.KeyFile == "" {
		return nil, fmt.Errorf("--%stls-client-ca: needs --%stls-certificate and --%stls-key", s.prefix, s.prefix, s.prefix)
	}
	if s.CertFile == "" || s.KeyFile == "" {
		return nil, fmt.Errorf("--%stls-certificate and --%stls-key: both or neither", s.prefix, s.prefix)
	}
	pair := &keyPair{certFile: s.CertFile, keyFile: s.KeyFile}
	if _, err := pair.load(); err != nil {
		return nil, fmt.Errorf("--%stls-certificate=%s and --%stls-key=%s: %w", s.prefix, s.CertFile, s.prefix, s.KeyFile, err)
	}
	cfg := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.load() },
	}
	if s.ClientCAFile != "" {
		pool, err := readPool(s.ClientCAFile)
		if err != nil {
			return nil, fmt.Errorf("--%stls-client-ca: %w", s.prefix, err)
		}
		cfg.ClientCAs, cfg.ClientAuth = pool, tls.RequireAndVerifyClientCert
	}
	return cfg, nil
}

// Client is the TLS side of a connection that this process opens.
type Client struct {
	// Enabled false means plain text; the other fields must then be empty.
	Enabled bool
	// CAFile holds the authorities of the server; empty means those of the system.
	CAFile string
	// CertFile and KeyFile are shown to a server that asks; both or neither.
	CertFile, KeyFile string
	// ServerName is checked instead of the host of the target.
	ServerName string
	prefix     string
}

// RegisterFlags registers <prefix>tls, <prefix>tls-ca, <prefix>tls-certificate, <prefix>tls-key and
// <prefix>tls-server-name.
func (c *Client) RegisterFlags(fs *flag.FlagSet, prefix, peer string) {
	c.prefix = prefix
	fs.BoolVar(&c.Enabled, prefix+"tls", c.Enabled, "Connect to "+peer+" by TLS.")
	fs.StringVar(&c.CAFile, prefix+"tls-ca", c.CAFile, "PEM file with the authorities that the certificate of "+peer+" must come from. Empty: those of the system.")
	fs.StringVar(&c.CertFile, prefix+"tls-certificate", c.CertFile, "PEM file with the client certificate to show to "+peer+".")
	fs.StringVar(&c.KeyFile, prefix+"tls-key", c.KeyFile, "PEM file with the private key of that client certificate.")
	fs.StringVar(&c.ServerName, prefix+"tls-server-name", c.ServerName, "Name to check in the certificate of "+peer+" instead of its host.")
}

// Config returns the configuration, or nil for plain text.
func (c Client) Config() (*tls.Config, error) {
	if !c.Enabled {
		if c.CAFile != "" || c.CertFile != "" || c.KeyFile != "" || c.ServerName != "" {
			return nil, fmt.Errorf("--%stls-… options need --%stls", c.prefix, c.prefix)
		}
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if c.CAFile != "" {
		pool, err := readPool(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("--%stls-ca: %w", c.prefix, err)
		}
		cfg.RootCAs = pool
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return nil, fmt.Errorf("--%stls-certificate and --%stls-key: both or neither", c.prefix, c.prefix)
	}
	if c.CertFile != "" {
		pair := &keyPair{certFile: c.CertFile, keyFile: c.KeyFile}
		if _, err := pair.load(); err != nil {
			return nil, fmt.Errorf("--%stls-certificate=%s and --%stls-key=%s: %w", c.prefix, c.CertFile, c.prefix, c.KeyFile, err)
		}
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair.load() }
	}
	return cfg, nil
}

func readPool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no PEM certificate in it", file)
	}
	return pool, nil
}

// keyPair reads a certificate and its key again when a file's modification time changes. A pair that cannot be read
// half way through a rotation leaves the old one in force.
type keyPair struct {
	certFile, keyFile string

	mu       sync.Mutex
	cert     *tls.Certificate
	certTime time.Time
	keyTime  time.Time
}

func (k *keyPair) load() (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	ci, certErr := os.Stat(k.certFile)
	ki, keyErr := os.Stat(k.keyFile)
	if err := errors.Join(certErr, keyErr); err != nil {
		return k.fallback(err)
	}
	if k.cert != nil && ci.ModTime().Equal(k.certTime) && ki.ModTime().Equal(k.keyTime) {
		return k.cert, nil
	}
	cert, err := tls.LoadX509KeyPair(k.certFile, k.keyFile)
	if err != nil {
		return k.fallback(fmt.Errorf("%s: %w", k.certFile, err))
	}
	k.cert, k.certTime, k.keyTime = &cert, ci.ModTime(), ki.ModTime()
	return k.cert, nil
}

func (k *keyPair) fallback(err error) (*tls.Certificate, error) {
	if k.cert != nil {
		return k.cert, nil
	}
	return nil, err
}
