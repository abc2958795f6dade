// SPDX-License-Identifier: Apache-2.0

package scheduled

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

// hall is where runs of a test are, and wait to be let go.
type hall struct {
	began chan Job
	goOn  chan struct{}

	mu       sync.Mutex
	canceled []string
}

func newHall() *hall { return &hall{began: make(chan Job), goOn: make(chan struct{})} }

func (h *hall) run(ctx context.Context, j Job) {
	h.began <- j
	select {
	case <-h.goOn:
	case <-ctx.Done():
		h.mu.Lock()
		defer h.mu.Unlock()
		h.canceled = append(h.canceled, j.ID)
	}
}

// One run of a query at a time, of all queries as many as may, the others in the order in which they came.
func TestRunner(t *testing.T) {
	h := newHall()
	r := NewRunner(2, h.run)
	defer r.Close()
	at := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }
	for _, j := range []Job{{ID: "a", Invocation: at(1)}, {ID: "a", Invocation: at(2)}, {ID: "b", Invocation: at(3)}, {ID: "c", Invocation: at(4)}} {
		if err := r.Submit(j); err != nil {
			t.Fatal(err)
		}
	}
	both := []string{(<-h.began).ID, (<-h.began).ID}
	if slices.Sort(both); !slices.Equal(both, []string{"a", "b"}) {
		t.Fatalf("%v run", both)
	}
	if running, waiting := r.Count(); running != 2 || waiting != 2 {
		t.Errorf("%d run, %d wait", running, waiting)
	}
	if !r.Busy("a") || !r.Busy("b") || !r.Busy("c") || r.Busy("d") {
		t.Error("who is busy")
	}
	h.goOn <- struct{}{}
	// Whichever ended, there is a place: for the second run of a, if it was the first, else for c.
	next := <-h.began
	if next.ID == "b" || next.ID == "a" && !next.Invocation.Equal(at(2)) {
		t.Errorf("then %+v ran", next)
	}
	h.goOn <- struct{}{}
	h.goOn <- struct{}{}
	last := <-h.began
	if last.ID == next.ID {
		t.Errorf("%+v ran again", last)
	}
	h.goOn <- struct{}{}
}

func TestRunnerForget(t *testing.T) {
	h := newHall()
	r := NewRunner(1, h.run)
	defer r.Close()
	for _, id := range []string{"a", "b", "a", "c"} {
		if err := r.Submit(Job{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	if j := <-h.began; j.ID != "a" {
		t.Fatalf("%+v runs", j)
	}
	r.Forget("b")
	r.Forget("a")
	if j := <-h.began; j.ID != "c" || r.Busy("b") {
		t.Errorf("%+v runs", j)
	}
	h.goOn <- struct{}{}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Equal(h.canceled, []string{"a"}) {
		t.Errorf("%v were ended", h.canceled)
	}
}

func TestRunnerClose(t *testing.T) {
	h := newHall()
	r := NewRunner(1, h.run)
	for _, id := range []string{"a", "b"} {
		if err := r.Submit(Job{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	<-h.began
	if dropped := r.Close(); dropped != 1 {
		t.Errorf("%d were dropped", dropped)
	}
	if !slices.Equal(h.canceled, []string{"a"}) {
		t.Errorf("%v were ended", h.canceled)
	}
	if err := r.Submit(Job{ID: "c"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	r.Close()
}

func TestRunnerBound(t *testing.T) {
	h := newHall()
	r := NewRunner(1, h.run)
	defer r.Close()
	for range MaxWaiting + 1 {
		if err := r.Submit(Job{ID: "a"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Submit(Job{ID: "b"}); !errors.Is(err, ErrManyWaiting) {
		t.Errorf("got %v", err)
	}
	<-h.began
}
