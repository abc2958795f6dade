// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/tributary-project/tributary/internal/flags"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
	"github.com/tributary-project/tributary/services/ingest/internal/ingesttest"
)

func gzipped(t testing.TB, parts ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, p := range parts {
		w := gzip.NewWriter(&b)
		if _, err := w.Write(p); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func zstandard(t testing.TB, stream bool, message []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	if !stream {
		return w.EncodeAll(message, nil)
	}
	for chunk := range slices.Chunk(message, 5000) {
		if _, err := w.Write(chunk); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestEncodings writes the same message in every encoding, sizes declared, wrong and left out, at a limit that it just
// keeps and at one that it breaks by a byte. Whatever happens, the gate is empty afterwards.
func TestEncodings(t *testing.T) {
	message := ingesttest.V2(t, ingesttest.Load(300, 300, 0))
	half := len(message) / 2
	for _, c := range []struct {
		name     string
		encoding ingestv1.Encoding
		payload  []byte
	}{
		{"plain", ingestv1.Encoding_ENCODING_UNSPECIFIED, message},
		{"snappy", ingestv1.Encoding_ENCODING_SNAPPY, ingesttest.Snappy(message)},
		{"zstd", ingestv1.Encoding_ENCODING_ZSTD, zstandard(t, false, message)},
		{"zstd, size not declared", ingestv1.Encoding_ENCODING_ZSTD, zstandard(t, true, message)},
		{"gzip", ingestv1.Encoding_ENCODING_GZIP, gzipped(t, message)},
		{"gzip, two members", ingestv1.Encoding_ENCODING_GZIP, gzipped(t, message[:half], message[half:])},
	} {
		for _, over := range []int{0, 1} {
			cfg := quick()
			cfg.MaxDecompressedBytes = flags.Bytes(len(message) - over)
			r := newRig(t, cfg)
			req := &ingestv1.WriteRequest{MessageType: rw2, Encoding: c.encoding, Payload: c.payload}
			if over == 0 {
				if res := r.write(t, req); res.GetLedger().GetSamples().GetStored() != 300 {
					t.Errorf("%s: %s", c.name, counts(res.GetLedger().GetSamples()))
				}
			} else if _, err := r.client.Write(context.Background(), req); reason(err) != ReasonTooLarge || !strings.Contains(err.Error(), "--ingest.max-decompressed-bytes") {
				t.Errorf("%s, a byte too many: %v", c.name, err)
			}
			if n := gauge(t, r, "tributary_ingest_inflight_bytes"); n != 0 {
				t.Errorf("%s: %v bytes are still in flight", c.name, n)
			}
		}
	}
}

// A payload that says it is small takes the room it needs, or none.
func TestGateKnowsTheDecompressedSize(t *testing.T) {
	message := ingesttest.V2(t, ingesttest.Load(300, 300, 0))
	lying := gzipped(t, message[:len(message)-10], message[len(message)-10:]) // the last member has ten bytes
	cfg := quick()
	cfg.MaxDecompressedBytes = 1 << 20
	cfg.MaxInFlightBytes = 2 << 20
	r := newRig(t, cfg)
	if res := r.write(t, &ingestv1.WriteRequest{MessageType: rw2, Encoding: ingestv1.Encoding_ENCODING_GZIP, Payload: lying}); res.GetLedger().GetSamples().GetStored() != 300 {
		t.Errorf("with room: %s", counts(res.GetLedger().GetSamples()))
	}
	other, err := r.service.gate.Enter("other", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.client.Write(context.Background(), &ingestv1.WriteRequest{MessageType: rw2, Encoding: ingestv1.Encoding_ENCODING_GZIP, Payload: lying})
	if reason(err) != ReasonOverloaded {
		t.Errorf("without room: %v", err)
	}
	other.Leave()
	corrupt := gzipped(t, message)
	binary.LittleEndian.PutUint32(corrupt[len(corrupt)-4:], 5)
	if _, err := r.client.Write(context.Background(), &ingestv1.WriteRequest{MessageType: rw2, Encoding: ingestv1.Encoding_ENCODING_GZIP, Payload: corrupt}); reason(err) != ReasonCorrupt {
		t.Errorf("a length that is not the message's: %v", err)
	}
	if n := gauge(t, r, "tributary_ingest_inflight_bytes"); n != 0 {
		t.Errorf("%v bytes are still in flight", n)
	}
}

// gauge reads a gauge of the service.
func gauge(t *testing.T, r *rig, name string) float64 {
	t.Helper()
	all, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
