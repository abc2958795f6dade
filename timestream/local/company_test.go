// SPDX-License-Identifier: Apache-2.0

package local

import (
	"testing"
	"time"
)

func TestCompany(t *testing.T) {
	c := newCompany()
	if c.await(0) {
		t.Error("waits for somebody at the beginning")
	}
	c.answered(3, time.Hour)
	if c.await(3) || c.await(4) {
		t.Error("waits for more than there were")
	}
	if until := c.until; time.Until(until) > maxPatience {
		t.Errorf("waits until %v", until)
	}
	c.until = time.Now().Add(time.Hour)
	if !c.await(2) {
		t.Error("does not wait for the third")
	}
	c.until = time.Now().Add(-time.Nanosecond)
	if c.await(2) {
		t.Error("waits though the time is over")
	}
	c.answered(3, 0)
	if c.await(2) {
		t.Error("waits although transactions cost nothing")
	}
}

// Whoever is expected and does not come is not waited for again, and the requests that are there are answered.
func TestCompanyThatDoesNotCome(t *testing.T) {
	w := &writer{queue: make(chan any, 1), company: newCompany()}
	w.company.answered(2, time.Hour)
	w.company.until = time.Now().Add(time.Millisecond)
	if got := w.waiting(); got != nil {
		t.Errorf("got %v", got)
	}
	w.company.until = time.Now().Add(time.Hour)
	want := &writeJob{}
	go func() { w.queue <- want }()
	if got := w.waiting(); got != want {
		t.Errorf("got %v", got)
	}
	close(w.queue)
	if got := w.waiting(); got != nil {
		t.Errorf("got %v after the last", got)
	}
}
