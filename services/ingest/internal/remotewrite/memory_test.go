// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tributary-project/tributary/services/ingest/internal/ingesttest"
	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
	"github.com/tributary-project/tributary/timestream"
)

// numbered are so many labels with different names.
func numbered(n int) []labels.Label {
	ls := ingesttest.L("__name__", "a")
	for i := range n - 1 {
		ls = append(ls, labels.Label{Name: fmt.Sprintf("l%05d", i), Value: "v"})
	}
	return ls
}

// field is a field of bytes.
func field(number protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), b)
}

// TestMemory decodes messages of which little bytes become much memory. What is asked for is what the heap has, and what
// is refused ends the decoding before it is taken.
func TestMemory(t *testing.T) {
	repeat := func(n int, s ingesttest.Series) []ingesttest.Series {
		out := make([]ingesttest.Series, n)
		for i := range out {
			out[i] = s
		}
		return out
	}
	one := ingesttest.One(ingesttest.L("__name__", "a"), 1, 1)
	packedRefs := []byte{}
	for i := range 500 {
		packedRefs = protowire.AppendVarint(packedRefs, uint64(1+i%100))
	}
	symbols := func(n int) (b []byte) {
		for i := range n {
			b = append(b, field(4, fmt.Append(nil, i))...)
		}
		return b
	}
	tests := []struct {
		name string
		m    Message
		give []byte
	}{
		{"usual 1.0", V1, ingesttest.V1(t, ingesttest.Load(10_000, 5000, 0), 0)},
		{"usual 2.0", V2, ingesttest.V2(t, ingesttest.Load(10_000, 5000, 0))},
		{"labels", V2, ingesttest.V2(t, repeat(500, ingesttest.One(numbered(maxLabels), 1, 1)))},
		{"labels of 1.0", V1, ingesttest.V1(t, repeat(500, ingesttest.One(numbered(1500), 1, 1)), 0)},
		{"labels of one series", V2, ingesttest.V2(t, []ingesttest.Series{ingesttest.One(numbered(200_000), 1, 1)})},
		{"series", V2, ingesttest.V2(t, repeat(100_000, one))},
		{"samples", V2, append(field(4, nil), field(5, []byte(strings.Repeat("\x12\x02\x10\x01", 200_000)))...)},
		{"samples of pairs", V2, append(append(field(4, []byte("__name__")), field(4, []byte("a"))...), []byte(strings.Repeat(string(field(5, []byte("\x0a\x02\x00\x01\x12\x02\x10\x01\x12\x02\x10\x01"))), 60_000))...)},
		{"symbols", V2, symbols(400_000)},
		{"histograms", V1, ingesttest.V1(t, repeat(1000, ingesttest.Series{Labels: one.Labels, Histograms: 100}), 0)},
		{"exemplars", V1, ingesttest.V1(t, repeat(1000, ingesttest.Series{Labels: one.Labels, Exemplars: 100}), 0)},
		{"labels of exemplars", V2, append(symbols(101), []byte(strings.Repeat(string(field(5, append([]byte("\x0a\x02\x01\x02"), field(4, field(1, packedRefs[:100]))...))), 10_000))...)},
		{"invalid exemplars", V2, append(symbols(101), field(5, append([]byte("\x0a\x02\x01\x02"), []byte(strings.Repeat(string(field(4, field(1, packedRefs[:11]))), 100_000))...))...)},
		{"metadata", V1, ingesttest.V1(t, nil, 150_000)},
	}
	o := Options{MaxSamples: 200_000, MaxTimeMs: timestream.MaxTimeMs}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := NewDecoder(o, series.NewHasher())
			before := heap()
			asked := int64(0)
			r, err := d.Decode(tt.m, tt.give, new(ledger.Account), func(n int64) error {
				asked = max(asked, n)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			used := heap() - before
			counted := max(asked, r.Bytes())
			t.Logf("message %d, heap %d, counted %d", len(tt.give), used, counted)
			// There may be some memory that the next request of the decoder uses.
			const spare = 256 << 10
			if used > 2*counted+spare || counted > 4*used+spare {
				t.Errorf("the heap has %d bytes, %d were counted", used, counted)
			}
			r.Release()

			limit, refused, peak := counted/3, errors.New("no"), int64(0)
			_, err = NewDecoder(o, series.NewHasher()).Decode(tt.m, tt.give, new(ledger.Account), func(n int64) error {
				if n > limit {
					return refused
				}
				peak = n
				return nil
			})
			if !errors.Is(err, refused) {
				t.Errorf("no room: got %v after %d of %d bytes", err, peak, counted)
			}
		})
	}
}

// TestMaxLabels: a series with more labels than any record can hold is rejected, whatever they are, and its neighbours are
// not.
func TestMaxLabels(t *testing.T) {
	good := ingesttest.One(ingesttest.L("__name__", "good", "l00001", "v"), 1, 1)
	for _, n := range []int{maxLabels, maxLabels + 1, 3 * maxLabels} {
		many := ingesttest.One(numbered(n), 1, 1)
		many.Exemplars = 1
		ss := []ingesttest.Series{good, many, good, many, good}
		unpacked := field(4, []byte("__name__"))
		unpacked = append(unpacked, field(4, []byte("good"))...)
		var refs []byte // one number a field, which a parser must take too
		for i := range n - 1 {
			unpacked = append(unpacked, field(4, fmt.Appendf(nil, "l%05d", i))...)
			refs = append(refs, 0x08)
			refs = protowire.AppendVarint(refs, uint64(2+i))
			refs = append(refs, 0x08, 1)
		}
		unpacked = append(unpacked, field(5, append([]byte("\x08\x00\x08\x01\x12\x02\x10\x01"), refs...))...)
		for _, c := range []struct {
			name            string
			m               Message
			message         []byte
			series, refused int
		}{
			{"1.0", V1, ingesttest.V1(t, ss, 0), 3, 2},
			{"2.0", V2, ingesttest.V2(t, ss), 3, 2},
		} {
			var a ledger.Account
			r, err := NewDecoder(options(), series.NewHasher()).Decode(c.m, c.message, &a, nil)
			if err != nil {
				t.Fatal(err)
			}
			want := c.series
			if n <= maxLabels {
				want, c.refused = want+c.refused, 0
			}
			if len(r.Series) != want || int(a.Counts[ledger.Samples].Rejected) != c.refused || int(a.Counts[ledger.Exemplars].Rejected) != c.refused {
				t.Errorf("%s, %d labels: %d series, rejected %v", c.name, n, len(r.Series), a.Rejections)
			}
			for _, x := range a.Rejections {
				if x.Reason != ledger.LabelsTooLarge || !strings.Contains(x.Examples[0], fmt.Sprint("more than ", maxLabels, " labels")) || len(x.Examples[0]) > 1000 {
					t.Errorf("%s: %s %q", c.name, x.Reason, x.Examples)
				}
			}
			r.Release()
		}
		var a ledger.Account
		r, err := NewDecoder(options(), series.NewHasher()).Decode(V2, unpacked, &a, nil)
		if err != nil || (len(r.Series) == 1) != (n <= maxLabels) {
			t.Errorf("not packed, %d labels: %v, %v", n, err, a.Rejections)
		}
	}
}

// heap is what is alive, when what earlier tests left has gone.
func heap() int64 {
	const still = 64 << 10
	var m runtime.MemStats
	for last := int64(0); ; last = int64(m.HeapAlloc) {
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		if now := int64(m.HeapAlloc); now < last+still && last < now+still {
			return now
		}
		time.Sleep(10 * time.Millisecond)
	}
}
