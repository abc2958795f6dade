// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/e2e/internal/rw"
	"github.com/tributary-project/tributary/e2e/internal/system"
)

// senderRequest is a request as some program sends it.
type senderRequest struct {
	name, path string
	header     map[string]string
	body       []byte
	// encoding is that of the body, where the header says another one.
	encoding string
}

// TestOtherSenders sends what other programs than a Prometheus of today send, to the paths that they are set up for, and reads
// it back.
func TestOtherSenders(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{})
	now := time.Now().UnixMilli()
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	named := func(name string) rw.Series { return rw.New("__name__", name, "job", "senders") }
	v1 := func(name string) []byte {
		one := named(name).At(now, 1).At(now+1, 2)
		one.Histograms = [][]byte{histogram(t, rw.V1, now+2, 0)}
		return rw.Request{Series: []rw.Series{one}, Metadata: [][]byte{marshal(t, &prompb.MetricMetadata{
			Type: prompb.MetricMetadata_COUNTER, MetricFamilyName: name, Help: "Of " + name,
		})}}.Encode(rw.V1)
	}
	v2 := func(name string) []byte {
		one := named(name).At(now, 1)
		one.Exemplars = [][]byte{joined(bytesField(1, []byte{3, 4}), doubleField(2, 5), numberField(3, uint64(now)))}
		one.Metadata = joined(numberField(1, 1), numberField(3, 4))
		return rw.Request{Series: []rw.Series{one}}.Encode(rw.V2)
	}
	// The first sample has a start timestamp of its own, the second one that of the series.
	created := named("rc3")
	created.Samples = []rw.Sample{{TimeMs: now, Value: 1, StartMs: now - 60_000}, {TimeMs: now + 1, Value: 2}}
	created.Histograms = [][]byte{histogram(t, rw.V2, now+2, 0), histogram(t, rw.V2, now+3, now-1000)}
	created.CreatedMs = now - 30_000

	v1Header := map[string]string{"Content-Type": rw.V1.ContentType(), "Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"}
	v2Header := map[string]string{"Content-Type": rw.V2.ContentType(), "Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "2.0.0"}
	vmHeader := map[string]string{"Content-Type": rw.V1.ContentType(), "Content-Encoding": "zstd", "X-VictoriaMetrics-Remote-Write-Version": "1"}
	kept := newAccepted()
	for _, c := range []senderRequest{
		{name: "release candidate 3", path: "/api/v1/write", header: v2Header, body: snappy.Encode(nil, rw.Request{Series: []rw.Series{created}}.Encode(rw.V2))},
		{name: "vmagent", path: "/api/v1/write", header: vmHeader, body: encoder.EncodeAll(v1("vmagent"), nil)},
		{name: "vmagent, snappy from an older queue", path: "/api/v1/write", header: vmHeader, body: snappy.Encode(nil, v1("vmagent_queue")), encoding: "snappy"},
		{name: "vmagent, Zstandard from a newer queue", path: "/api/v1/write", header: v1Header, body: encoder.EncodeAll(v1("vmagent_newer"), nil), encoding: "zstd"},
		{
			name: "2.0 by Zstandard", path: "/api/v1/write", body: encoder.EncodeAll(v2("zstd_v2"), nil),
			header: map[string]string{"Content-Type": rw.V2.ContentType(), "Content-Encoding": "zstd"},
		},
		{name: "connector's path", path: "/write", header: v1Header, body: snappy.Encode(nil, v1("connector"))},
		{name: "connector's path, 2.0", path: "/write", header: v2Header, body: snappy.Encode(nil, v2("connector_v2"))},
		{name: "path of Mimir", path: "/api/v1/push", header: v1Header, body: snappy.Encode(nil, v1("mimir"))},
		{name: "path of Mimir, 2.0", path: "/api/v1/push", header: v2Header, body: snappy.Encode(nil, v2("mimir_v2"))},
		{name: "path of Thanos", path: "/api/v1/receive", header: v1Header, body: snappy.Encode(nil, v1("thanos"))},
		{name: "path of Thanos, 2.0", path: "/api/v1/receive", header: v2Header, body: snappy.Encode(nil, v2("thanos_v2"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+c.path, bytes.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			for name, value := range c.header {
				req.Header.Set(name, value)
			}
			a, err := rw.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			encoding := c.encoding
			if encoding == "" {
				encoding = c.header["Content-Encoding"]
			}
			written, err := kept.add(c.header["Content-Type"], encoding, c.body)
			if err != nil {
				t.Fatal(err)
			}
			if a.Status != http.StatusNoContent || a.Written() != written {
				t.Errorf("got %d, written %s, want 204, %s: %s", a.Status, a.Written(), written, a.Text)
			}
		})
	}
	kept.check(t, s)

	// Before it sends anything, a vmagent that is not new asks whether Zstandard is understood.
	if a, err := get(t.Context(), s.WriteURL()+"?get_vm_proto_version=1"); err != nil || a.Status != http.StatusOK || a.Text != "1" {
		t.Errorf("a vmagent that asks is told %d %q (%v)", a.Status, a.Text, err)
	}
}
