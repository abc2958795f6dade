// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/golang/snappy"

	"github.com/tributary-project/tributary/e2e/internal/rw"
	"github.com/tributary-project/tributary/e2e/internal/system"
)

// receiverCase is a write request, and how it has to be answered.
type receiverCase struct {
	name string
	only rw.Protocol // 0 for both
	// What is sent: series, made of one whose name no other case has, and metadata of 1.0; or a message; or a body.
	series   func(s rw.Series) []rw.Series
	metadata [][]byte
	message  []byte
	body     []byte
	// again is sent in a second request, whose answer counts.
	again  func(s rw.Series) []rw.Series
	header map[string]string // an empty value takes the header away
	method string
	// want is the answer: status, and in 2.0 how many samples, histograms and exemplars are written.
	want string
	// prometheus is how Prometheus answers when that differs, in 1.0 prometheusV1 if there is one, and why says for what
	// reason; alone, it says why Prometheus keeps something else.
	prometheus, prometheusV1, why string
}

// TestAsPrometheusReceives sends Tributary and a real Prometheus the same requests, good ones and bad ones of many sorts. They
// have to answer the same and to keep the same, but for what the table says, with the reason.
func TestAsPrometheusReceives(t *testing.T) {
	t.Parallel()
	prometheus := receivingPrometheus(t)
	s := system.Start(t, system.Options{})
	now := time.Now().UnixMilli()
	var differ []string // series of cases in which something else is kept
	for _, p := range protocols() {
		maker := receiverCases{t, p, now}
		for i, c := range slices.Concat(maker.samples(), maker.labels(), maker.symbols(), maker.times(), maker.histograms(), maker.exemplars(), maker.invalidExtras(), maker.metadata(), maker.headers(), maker.bodies()) {
			if c.only != 0 && c.only != p {
				continue
			}
			one := rw.New("__name__", fmt.Sprintf("case_%d_%d", p, i), "job", "receiver")
			t.Run(fmt.Sprintf("%s/%s", p, c.name), func(t *testing.T) {
				want := [2]string{c.want, cmp.Or(c.prometheus, c.want)}
				if p == rw.V1 {
					want = [2]string{c.want[:3] + " 0 0 0", cmp.Or(c.prometheusV1, want[1])[:3] + " 0 0 0"}
				}
				var got, texts, headers [2]string
				for i, url := range []string{s.WriteURL(), prometheus.URL + "/api/v1/write"} {
					a, err := rw.Do(c.request(t, p, url, one))
					if err != nil {
						t.Fatal(err)
					}
					if c.again != nil {
						if a, err = rw.Write(t.Context(), url, p, c.again(one)...); err != nil {
							t.Fatal(err)
						}
					}
					got[i], texts[i], headers[i] = outcome(a), a.Text, a.Written()
				}
				if got != want {
					t.Errorf("got %q, want %q, Tributary and Prometheus:\n%s%s", got, want, texts[0], texts[1])
				}
				if got[0] != got[1] && c.why == "" {
					t.Error("Tributary differs for no reason")
				}
				if got[0] == got[1] && got[0][:3] == "204" && headers[0] != headers[1] {
					t.Errorf("the headers say %q and %q", headers[0], headers[1])
				}
				// In 1.0 Prometheus refuses the good part, too.
				if got[0] != got[1] || c.why != "" || p == rw.V1 && got[1] != "204 0 0 0" {
					differ = append(differ, one.Labels[0].Value)
				}
			})
		}
	}
	asPrometheusHas(t, prometheus, s, 100, differ...)
}

// request builds the request of a case.
func (c *receiverCase) request(t *testing.T, p rw.Protocol, url string, one rw.Series) *http.Request {
	t.Helper()
	body := c.body
	if body == nil {
		message := c.message
		if message == nil {
			r := rw.Request{Metadata: c.metadata}
			if c.series != nil {
				r.Series = c.series(one)
			}
			message = r.Encode(p)
		}
		body = snappy.Encode(nil, message)
	}
	req, err := http.NewRequestWithContext(t.Context(), cmp.Or(c.method, http.MethodPost), url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", p.ContentType())
	req.Header.Set("Content-Encoding", "snappy")
	for name, value := range c.header {
		req.Header.Set(name, value)
		if value == "" {
			req.Header.Del(name)
		}
	}
	return req
}
