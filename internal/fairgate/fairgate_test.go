// SPDX-License-Identifier: Apache-2.0

package fairgate_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tributary-project/tributary/internal/fairgate"
)

// clock is a time that only tests move.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newGate(l fairgate.Limits) (*fairgate.Gate, *clock) {
	c := &clock{t: time.Unix(1_700_000_000, 0)}
	return fairgate.New(l, c.now), c
}

// empty fails unless everything was given back.
func empty(t *testing.T, g *fairgate.Gate) {
	t.Helper()
	if g.Requests() != 0 || g.Bytes() != 0 {
		t.Errorf("got %d requests, %d bytes; want none", g.Requests(), g.Bytes())
	}
}

func leave(tickets []*fairgate.Ticket) {
	for _, t := range tickets {
		t.Leave()
	}
}

// flood enters as often as it is let in.
func flood(t *testing.T, g *fairgate.Gate, caller string, bytes int64) (in []*fairgate.Ticket, refused *fairgate.FullError) {
	t.Helper()
	for range 10_000 {
		ticket, err := g.Enter(caller, bytes)
		if err != nil {
			if !errors.As(err, &refused) {
				t.Fatalf("got %T", err)
			}
			return in, refused
		}
		in = append(in, ticket)
	}
	t.Fatal("nothing bounds it")
	return nil, nil
}

func TestBounds(t *testing.T) {
	g, _ := newGate(fairgate.Limits{Requests: 2, RequestsFlag: "r", Bytes: 100, BytesFlag: "b"})
	a, errA := g.Enter("x", 0)
	b, errB := g.Enter("x", 0)
	_, errC := g.Enter("x", 0)
	var full *fairgate.FullError
	if errA != nil || errB != nil || !errors.As(errC, &full) || *full != (fairgate.FullError{What: "requests", Limit: 2, Flag: "r"}) {
		t.Fatalf("got %v, %v, %v", errA, errB, errC)
	}
	if err := a.Take(60); err != nil {
		t.Error(err)
	}
	if err := b.Take(41); !errors.As(err, &full) || *full != (fairgate.FullError{What: "bytes", Limit: 100, Flag: "b"}) {
		t.Errorf("got %v, want a full gate", err)
	}
	if err := b.Take(40); err != nil {
		t.Errorf("a refused reservation was kept: %v", err)
	}
	a.Leave()
	if g.Requests() != 1 || g.Bytes() != 40 {
		t.Errorf("got %d requests, %d bytes; want 1, 40", g.Requests(), g.Bytes())
	}
	if _, err := g.Enter("x", 61); !errors.As(err, &full) || full.What != "bytes" {
		t.Errorf("got %v, want a gate full of bytes", err)
	}
	if g.Requests() != 1 {
		t.Errorf("a refused request was kept")
	}
	b.Leave()
	empty(t, g)

	open, _ := newGate(fairgate.Limits{})
	c, err := open.Enter("x", 1<<50)
	if err != nil || c.Take(1<<50) != nil {
		t.Error("a gate without bounds refuses")
	}
	c.Leave()
	empty(t, open)
}

// TestFlood: whatever one caller does, another that comes now and then finds room, and nobody is held back while he is
// alone or the gate is half empty.
func TestFlood(t *testing.T) {
	tests := []struct {
		name      string
		give      fairgate.Limits
		bytes     int64 // of each request
		others    int   // callers that are there before the flood, with one request each
		wantFlood int
		wantText  string
	}{
		{"alone, requests", fairgate.Limits{Requests: 100, RequestsFlag: "r"}, 0, 0, 100, "100 requests in flight are the limit (--r)"},
		{"alone, bytes", fairgate.Limits{Bytes: 1000, BytesFlag: "b"}, 10, 0, 100, "1000 bytes in flight are the limit (--b)"},
		{"one other, requests", fairgate.Limits{Requests: 100, RequestsFlag: "r"}, 0, 1, 50, "half of 100 requests are in flight (--r) and this caller's share is 50"},
		{"one other, bytes", fairgate.Limits{Bytes: 1000, BytesFlag: "b"}, 10, 1, 50, "half of 1000 bytes are in flight (--b) and this caller's share is 500"},
		{"nine others, requests", fairgate.Limits{Requests: 100, RequestsFlag: "r"}, 0, 9, 41, "this caller's share is 10"}, // with the others' that is half
		{"nine others, bytes", fairgate.Limits{Bytes: 1000, BytesFlag: "b"}, 10, 9, 41, "this caller's share is 100"},
		{"more callers than requests", fairgate.Limits{Requests: 4, RequestsFlag: "r"}, 0, 3, 1, "4 requests in flight are the limit"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g, _ := newGate(tt.give)
			var others []*fairgate.Ticket
			for i := range tt.others {
				ticket, err := g.Enter(fmt.Sprint("other", i), tt.bytes)
				if err != nil {
					t.Fatal(err)
				}
				others = append(others, ticket)
			}
			in, refused := flood(t, g, "flood", tt.bytes)
			if len(in) != tt.wantFlood || !strings.Contains(refused.Error(), tt.wantText) {
				t.Errorf("got %d in, then %q; want %d, %q", len(in), refused, tt.wantFlood, tt.wantText)
			}
			// The others, one after another, take more of what is theirs.
			for i := range others {
				if tt.others >= int(max(tt.give.Requests, tt.give.Bytes))-1 {
					break // the gate is full
				}
				others[i].Leave()
				for range 3 {
					ticket, err := g.Enter(fmt.Sprint("other", i), tt.bytes)
					if err != nil {
						t.Fatalf("caller %d is kept out by the flood: %v", i, err)
					}
					if _, err := g.Enter("flood", tt.bytes); err == nil {
						t.Fatal("the flood took a share that is not its own")
					}
					ticket.Leave()
				}
				var full *fairgate.FullError
				if others[i], full = enter(t, g, fmt.Sprint("other", i), tt.bytes); full != nil {
					t.Fatal(full)
				}
			}
			leave(in)
			leave(others)
			empty(t, g)
		})
	}
}

func enter(t *testing.T, g *fairgate.Gate, caller string, bytes int64) (*fairgate.Ticket, *fairgate.FullError) {
	t.Helper()
	ticket, err := g.Enter(caller, bytes)
	var full *fairgate.FullError
	if err != nil && !errors.As(err, &full) {
		t.Fatalf("got %T", err)
	}
	return ticket, full
}

// TestRefusedOnce: a caller that comes while another holds everything is refused, and from then on has a share: the
// flood cannot fill up again what it gives back.
func TestRefusedOnce(t *testing.T) {
	g, clock := newGate(fairgate.Limits{Requests: 10, RequestsFlag: "r"})
	in, _ := flood(t, g, "flood", 0)
	if _, full := enter(t, g, "quiet", 0); full == nil || full.Share != 0 {
		t.Fatalf("got %v, want a full gate", full)
	}
	in[9].Leave()
	in = in[:9]
	if _, full := enter(t, g, "flood", 0); full == nil || full.Share != 5 {
		t.Fatalf("got %v: the flood took the place at once", full)
	}
	clock.t = clock.t.Add(fairgate.Remember - 1)
	quiet, full := enter(t, g, "quiet", 0)
	if full != nil {
		t.Fatalf("the quiet caller came again and got %v", full)
	}
	quiet.Leave()
	// It is quiet again; its share stays free for a while, and no longer.
	clock.t = clock.t.Add(fairgate.Remember - 1)
	if _, full := enter(t, g, "flood", 0); full == nil {
		t.Error("the share of a caller who was there a moment ago is gone")
	}
	clock.t = clock.t.Add(1)
	last, full := enter(t, g, "flood", 0)
	if full != nil {
		t.Fatalf("alone again, and refused: %v", full)
	}
	last.Leave()
	leave(in)
	empty(t, g)
}

// TestOnlyRequest: a share is for many requests; a single large one needs only room.
func TestOnlyRequest(t *testing.T) {
	g, _ := newGate(fairgate.Limits{Bytes: 1000, BytesFlag: "b"})
	var small []*fairgate.Ticket
	for i := range 10 {
		ticket, full := enter(t, g, fmt.Sprint(i), 10)
		if full != nil {
			t.Fatal(full)
		}
		small = append(small, ticket)
	}
	large, full := enter(t, g, "large", 500)
	if full != nil {
		t.Fatalf("got %v, want room", full)
	}
	if err := large.Take(400); err != nil {
		t.Errorf("got %v, want room", err)
	}
	if _, full := enter(t, g, "large", 0); full == nil || full.Share != 90 {
		t.Errorf("a second one: got %v, want the share to bind", full)
	}
	large.Leave()
	leave(small)
	empty(t, g)
}

// TestMemory: callers are forgotten, so that addresses without end take no memory without end.
func TestMemory(t *testing.T) {
	g, clock := newGate(fairgate.Limits{Requests: 10})
	for i := range 100_000 {
		ticket, full := enter(t, g, fmt.Sprint(i), 1)
		if full != nil {
			t.Fatal(full)
		}
		ticket.Leave()
	}
	if n := g.Callers(); n > 1025 {
		t.Errorf("%d callers are remembered", n)
	}
	clock.t = clock.t.Add(fairgate.Remember)
	if n := g.Callers(); n != 0 {
		t.Errorf("%d callers are remembered", n)
	}
}

// TestConcurrently: under a flood of several goroutines a quiet caller gets in each time, bounds hold at every moment, and
// everything is given back.
func TestConcurrently(t *testing.T) {
	const limit = 64
	g, _ := newGate(fairgate.Limits{Requests: limit, Bytes: 100 * limit}) // its clock stands still, so nobody is forgotten
	first, err := g.Enter("quiet", 0)                                     // from here on the gate knows both
	if err != nil {
		t.Fatal(err)
	}
	first.Leave()
	var flooding sync.WaitGroup
	stop := make(chan struct{})
	for range 8 {
		flooding.Go(func() {
			var held []*fairgate.Ticket
			defer func() { leave(held) }()
			for {
				select {
				case <-stop:
					return
				default:
				}
				ticket, err := g.Enter("flood", 50)
				if err != nil { // give some back and take them again
					n := len(held) / 2
					leave(held[n:])
					held = held[:n]
					continue
				}
				if ticket.Take(60) != nil {
					ticket.Leave()
					continue
				}
				held = append(held, ticket)
			}
		})
	}
	for range 5000 {
		ticket, err := g.Enter("quiet", 50)
		if err != nil {
			t.Errorf("kept out by the flood: %v", err)
			break
		}
		if err := ticket.Take(60); err != nil {
			t.Errorf("kept out by the flood: %v", err)
		}
		if r, b := g.Requests(), g.Bytes(); r > limit || b > 100*limit {
			t.Errorf("%d requests, %d bytes in flight", r, b)
		}
		ticket.Leave()
	}
	close(stop)
	flooding.Wait()
	empty(t, g)
}

func BenchmarkEnter(b *testing.B) {
	g := fairgate.New(fairgate.Limits{Requests: 1024, Bytes: 1 << 30}, time.Now)
	b.ReportAllocs()
	for b.Loop() {
		ticket, err := g.Enter("10.0.0.1", 0)
		if err != nil {
			b.Fatal(err)
		}
		if err := ticket.Take(64 << 10); err != nil {
			b.Fatal(err)
		}
		ticket.Leave()
	}
}
