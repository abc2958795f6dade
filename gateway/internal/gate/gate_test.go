// SPDX-License-Identifier: Apache-2.0

package gate_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/tributary-project/tributary/gateway/internal/gate"
)

func TestGate(t *testing.T) {
	g := gate.New(gate.Limits{Requests: 2, RequestsFlag: "r", Bytes: 100, BytesFlag: "b"})
	a, errA := g.Enter()
	b, errB := g.Enter()
	_, errC := g.Enter()
	var full *gate.FullError
	if errA != nil || errB != nil || !errors.As(errC, &full) || full.What != "requests" || full.Limit != 2 || full.Flag != "r" {
		t.Fatalf("got %v, %v, %v", errA, errB, errC)
	}
	if err := a.Take(60); err != nil {
		t.Error(err)
	}
	if err := b.Take(41); !errors.As(err, &full) || full.What != "bytes" || full.Limit != 100 || full.Flag != "b" {
		t.Errorf("got %v, want a full gate", err)
	}
	if err := b.Take(40); err != nil {
		t.Errorf("a refused reservation was kept: %v", err)
	}
	a.Leave()
	if g.Requests() != 1 || g.Bytes() != 40 {
		t.Errorf("got %d requests, %d bytes; want 1, 40", g.Requests(), g.Bytes())
	}
	b.Leave()
	if g.Requests() != 0 || g.Bytes() != 0 {
		t.Errorf("got %d requests, %d bytes; want none", g.Requests(), g.Bytes())
	}
	open := gate.New(gate.Limits{})
	c, err := open.Enter()
	if err != nil || c.Take(1<<50) != nil {
		t.Error("a gate without bounds refuses")
	}
	c.Leave()
}

func TestGateConcurrently(t *testing.T) {
	g := gate.New(gate.Limits{Requests: 3, Bytes: 10})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				ticket, err := g.Enter()
				if err != nil {
					continue
				}
				if g.Requests() > 3+8 || ticket.Take(7) == nil && g.Bytes() > 10+8*7 {
					t.Error("over the bounds by more than those that are being refused")
				}
				ticket.Leave()
			}
		})
	}
	wg.Wait()
	if g.Requests() != 0 || g.Bytes() != 0 {
		t.Errorf("got %d requests, %d bytes; want none", g.Requests(), g.Bytes())
	}
}
