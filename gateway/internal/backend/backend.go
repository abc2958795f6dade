// SPDX-License-Identifier: Apache-2.0

// Package backend keeps an eye on a service behind the gateway, so that a probe costs no call. Calls themselves do not
// ask it: they go out and fail by themselves.
package backend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// checkTimeout bounds one question. A replica that hangs must not hide that others answer.
const checkTimeout = 3 * time.Second

// Watcher asks the health service of one role again and again.
type Watcher struct {
	role, service string
	conn          grpc.ClientConnInterface
	interval      time.Duration
	logger        *slog.Logger
	changed       func(healthy bool)

	mu    sync.Mutex
	asked bool
	err   error // nil while the role serves
}

// NewWatcher returns a watcher of the gRPC service with the given full name, which plays role. Until Run has asked for
// the first time the role counts as unreachable. changed is called with the outcome of every question; it must not
// block.
func NewWatcher(role, service string, conn grpc.ClientConnInterface, interval time.Duration, logger *slog.Logger, changed func(healthy bool)) *Watcher {
	return &Watcher{
		role: role, service: service, conn: conn, interval: interval, logger: logger, changed: changed,
		err: errors.New("not asked yet"),
	}
}

// Err returns nil while the role is reachable and serving, else what is wrong.
func (w *Watcher) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Run asks until ctx ends, and returns nil.
//
// It asks by Check, not by Watch: a Watch stream would stay on one replica, and would keep a replica that drains from
// ending.
func (w *Watcher) Run(ctx context.Context) error {
	tick := time.NewTicker(w.interval)
	defer tick.Stop()
	for {
		err := w.check(ctx)
		if err != nil && ctx.Err() == nil {
			err = w.check(ctx) // balanced, so this is another replica if there is one
		}
		if ctx.Err() != nil {
			return nil
		}
		w.set(err)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (w *Watcher) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	res, err := healthv1.NewHealthClient(w.conn).Check(ctx, &healthv1.HealthCheckRequest{Service: w.service})
	if err != nil {
		return fmt.Errorf("%s is unreachable: %s", w.role, status.Convert(err).Message())
	}
	if s := res.GetStatus(); s != healthv1.HealthCheckResponse_SERVING {
		return fmt.Errorf("%s is %s", w.role, s)
	}
	return nil
}

func (w *Watcher) set(err error) {
	w.mu.Lock()
	news := !w.asked || (err == nil) != (w.err == nil)
	w.asked, w.err = true, err
	w.mu.Unlock()
	w.changed(err == nil)
	switch {
	case !news:
	case err == nil:
		w.logger.Info("backend is reachable", "role", w.role)
	default:
		w.logger.Warn("backend is not reachable", "role", w.role, "err", err)
	}
}
