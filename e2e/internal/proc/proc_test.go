// SPDX-License-Identifier: Apache-2.0

package proc

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestCosts looks at a process that keeps a core busy.
func TestCosts(t *testing.T) {
	ready := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer ready.Close()
	machine, err := ReadMachine()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(t.Context(), "busy", t.TempDir(), "/bin/sh", ready.URL, "-c", "while :; do :; done")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	cpu := time.Duration(0)
	for deadline := time.Now().Add(2 * time.Minute); cpu < 50*time.Millisecond; time.Sleep(10 * time.Millisecond) {
		if cpu, err = p.CPU(); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatal("no CPU time after two minutes")
		}
	}
	now, err := p.RSS()
	if err != nil || now == 0 {
		t.Errorf("RSS %d, %v", now, err)
	}
	if peak, err := p.PeakRSS(); err != nil || peak < now {
		t.Errorf("peak RSS %d after %d, %v", peak, now, err)
	}
	later, err := ReadMachine()
	if err != nil {
		t.Fatal(err)
	}
	if idle := later.IdleSince(machine); later.Total-machine.Total < cpu || idle < 0 || idle > 1 {
		t.Errorf("the machine did %s of which %v idle, a process %s", later.Total-machine.Total, idle, cpu)
	}
	if own, err := Own(); err != nil || own == 0 {
		t.Errorf("own CPU time %s, %v", own, err)
	}
}
