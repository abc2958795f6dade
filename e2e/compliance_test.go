// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/tributary-project/tributary/e2e/internal/proc"
	"github.com/tributary-project/tributary/e2e/internal/promtest"
	"github.com/tributary-project/tributary/e2e/internal/rw"
	"github.com/tributary-project/tributary/e2e/internal/system"
)

// receivingPrometheus starts a Prometheus that takes all that Tributary takes: samples in any order, and exemplars.
func receivingPrometheus(t *testing.T) *promtest.Instance {
	t.Helper()
	return promtest.Start(t, "storage: {tsdb: {out_of_order_time_window: 1d}}\n", nil,
		"--web.enable-remote-write-receiver", "--enable-feature=exemplar-storage")
}

// exchange is a write request with the answers of both receivers.
type exchange struct {
	contentType, encoding string
	body                  []byte
	tributary, prometheus rw.Answer
}

// outcome is the status of an answer and what it says was written. A header that is missing is a 0 in remote write 2.0, and
// errors that come before the message is looked at have none.
func outcome(a rw.Answer) string {
	return fmt.Sprintf("%d %s", a.Status, strings.ReplaceAll(a.Written(), "-", "0"))
}

// receivers passes write requests on to Tributary and to Prometheus, answers as the former does, and keeps all of it.
type receivers struct {
	URL string

	mu        sync.Mutex
	exchanges []exchange
}

func newReceivers(t *testing.T, tributary, prometheus string) *receivers {
	t.Helper()
	r := &receivers{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		body, err := io.ReadAll(in.Body)
		if err != nil {
			t.Error(err)
			return
		}
		x := exchange{contentType: in.Header.Get("Content-Type"), encoding: in.Header.Get("Content-Encoding"), body: body}
		for url, answer := range map[string]*rw.Answer{tributary: &x.tributary, prometheus: &x.prometheus} {
			out, err := http.NewRequestWithContext(in.Context(), in.Method, url, bytes.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			out.Header = in.Header.Clone()
			if *answer, err = rw.Do(out); err != nil {
				t.Error(err)
				return
			}
		}
		r.mu.Lock()
		r.exchanges = append(r.exchanges, x)
		r.mu.Unlock()
		for name, values := range x.tributary.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(x.tributary.Status)
		_, _ = io.WriteString(w, x.tributary.Text)
	}))
	t.Cleanup(server.Close)
	r.URL = server.URL
	return r
}

// suiteResult is what became of one test of a suite.
type suiteResult struct {
	name, verdict string
	output        []string
}

// runReceiverSuite runs prometheus/compliance's suite for receivers of remote write against url, and returns the results of
// the tests that send something: each of them one request.
func runReceiverSuite(t *testing.T, url string) []suiteResult {
	t.Helper()
	binary, err := proc.Binary("compliance")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(config, []byte("remote_write: [{name: receiver, url: '"+url+"'}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, "-test.v")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PROMETHEUS_RW2_COMPLIANCE_CONFIG_FILE="+config)
	out, err := cmd.CombinedOutput()
	results := suiteResults(out)
	failed := 0
	for _, r := range results {
		if r.verdict != "PASS" {
			failed++
		}
	}
	if err != nil && failed == 0 {
		t.Fatalf("%v:\n%s", err, out)
	}
	return results
}

// suiteResults reads what a test binary prints with -test.v, of the tests whose name ends in that of the receiver.
func suiteResults(out []byte) []suiteResult {
	begins := regexp.MustCompile(`^=== (?:RUN|NAME|CONT) +(\S+)$`)
	ends := regexp.MustCompile(`^ *--- (PASS|FAIL|SKIP): (\S+/receiver) \([0-9.]+s\)$`)
	output := map[string][]string{}
	current := ""
	var results []suiteResult
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if m := begins.FindStringSubmatch(line); m != nil {
			current = m[1]
		} else if m := ends.FindStringSubmatch(line); m != nil {
			results = append(results, suiteResult{name: strings.TrimSuffix(m[2], "/receiver"), verdict: m[1], output: output[m[2]]})
		} else if current != "" {
			output[current] = append(output[current], line)
		}
	}
	return results
}

// TestReceiverCompliance runs the published compliance suite for receivers, which looks at answers only. Each of its requests
// goes to a real Prometheus, too, which has to answer the same, and what was acknowledged is read back and compared.
func TestReceiverCompliance(t *testing.T) {
	t.Parallel()
	const least = 205 // requests that the suite is known to send
	// Where the suite asks for what Prometheus does not do: first how Tributary answers, as the suite wants it.
	differs := map[string][2]string{
		// Prometheus keeps neither without a sample.
		"TestEdgeCaseCombinations/metadata_without_data":  {"204 0 0 0", "400 0 0 0"},
		"TestEdgeCaseCombinations/exemplars_without_data": {"204 0 0 1", "400 0 0 0"},
		// Prometheus decompresses the body, which is damaged in these, before it looks at the Content-Type.
		"TestBadContentTypes/application_json": {"415 0 0 0", "400 0 0 0"},
		"TestBadContentTypes/image_png":        {"415 0 0 0", "400 0 0 0"},
	}
	prometheus := receivingPrometheus(t)
	s := system.Start(t, system.Options{})
	both := newReceivers(t, s.WriteURL(), prometheus.URL+"/api/v1/write")
	results := runReceiverSuite(t, both.URL)
	if len(results) < least || len(results) != len(both.exchanges) {
		t.Fatalf("the suite ran %d tests and sent %d requests, want as many, and at least %d", len(results), len(both.exchanges), least)
	}
	kept := newAccepted()
	for i, r := range results {
		x := both.exchanges[i]
		t.Run(r.name, func(t *testing.T) {
			if r.verdict != "PASS" {
				t.Errorf("%s:\n%s", r.verdict, strings.Join(r.output, "\n"))
			}
			want, known := differs[r.name]
			if got := [2]string{outcome(x.tributary), outcome(x.prometheus)}; known && got != want || !known && got[0] != got[1] {
				t.Errorf("Tributary answers %s %s\nPrometheus answers %s %s", got[0], x.tributary.Text, got[1], x.prometheus.Text)
			}
			if x.tributary.Status != http.StatusNoContent && strings.HasSuffix(outcome(x.tributary), " 0 0 0") {
				return // nothing of it is to be kept
			}
			written, err := kept.add(x.contentType, x.encoding, x.body)
			if err != nil {
				t.Fatal(err)
			}
			if written != x.tributary.Written() {
				t.Errorf("written: %s, want %s", x.tributary.Written(), written)
			}
		})
	}
	kept.check(t, s)
}
