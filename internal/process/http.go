// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// HTTPServer is an HTTP listener as an actor.
type HTTPServer struct {
	server   *http.Server
	listener net.Listener
	tls      bool // server.TLSConfig does not tell: net/http sets it for plain text too
	drain    time.Duration
}

// NewHTTPServer listens on address; flagName is named in the error when that fails. A nil TLS configuration means plain text.
// Headers must arrive within 10 s; bodies are left to the handlers. Requests in flight get drain to end.
func NewHTTPServer(flagName, address string, t *tls.Config, h http.Handler, drain time.Duration, logger *slog.Logger) (*HTTPServer, error) {
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--%s=%s: %w", flagName, address, err)
	}
	return &HTTPServer{
		server: &http.Server{
			Handler:           h,
			TLSConfig:         t,
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    64 << 10,
			ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
		},
		listener: ln,
		tls:      t != nil,
		drain:    drain,
	}, nil
}

// Addr is the address that the server listens on.
func (s *HTTPServer) Addr() net.Addr { return s.listener.Addr() }

// URL is the base URL of the server, with localhost for an address that stands for all.
func (s *HTTPServer) URL() string {
	scheme := "http"
	if s.tls {
		scheme = "https"
	}
	host, port, _ := net.SplitHostPort(s.Addr().String())
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// Serve serves until ctx ends, then lets requests in flight end within the drain time, and returns nil.
func (s *HTTPServer) Serve(ctx context.Context) error {
	served := make(chan error, 1)
	go func() {
		if s.tls {
			served <- s.server.ServeTLS(s.listener, "", "")
			return
		}
		served <- s.server.Serve(s.listener)
	}()
	select {
	case err := <-served:
		return fmt.Errorf("HTTP server on %s: %w", s.Addr(), err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), s.drain)
	defer cancel()
	err := s.server.Shutdown(drain)
	if err != nil {
		err = s.server.Close()
	}
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Close releases the listener of a server that was never served.
func (s *HTTPServer) Close() error { return s.listener.Close() }
