// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"testing"

	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tributary-project/tributary/services/ingest/internal/ingesttest"
	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
)

// FuzzV1 and FuzzV2 compare with the published decoders: what both take has the same meaning, and ours takes nothing that
// those refuse.
func FuzzV1(f *testing.F) {
	f.Add(ingesttest.V1(f, ingesttest.Load(3, 3, 0), 1))
	f.Add(everything(f)[V1])
	d := NewDecoder(options(), series.NewHasher())
	f.Fuzz(func(t *testing.T, message []byte) {
		var a ledger.Account
		r, err := d.Decode(V1, message, &a, nil)
		if err != nil {
			return
		}
		balanced(t, &a, r)
		r.Release()
		var want prompb.WriteRequest
		if err := want.Unmarshal(message); err != nil {
			t.Fatalf("taken, but the published decoder refuses it: %v", err)
		}
		compare(t, d, V1, message, oracleV1(&want))
	})
}

func FuzzV2(f *testing.F) {
	f.Add(ingesttest.V2(f, ingesttest.Load(3, 3, 0)))
	f.Add(everything(f)[V2])
	d := NewDecoder(options(), series.NewHasher())
	f.Fuzz(func(t *testing.T, message []byte) {
		var a ledger.Account
		r, err := d.Decode(V2, message, &a, nil)
		if err != nil {
			return
		}
		balanced(t, &a, r)
		r.Release()
		var want writev2.Request
		if err := want.Unmarshal(message); err != nil {
			t.Fatalf("taken, but the published decoder refuses it: %v", err)
		}
		if !hasCreated(message) { // which the published decoder does not know any more
			compare(t, d, V2, message, oracleV2(&want))
		}
	})
}

// hasCreated tells whether a series has field 6.
func hasCreated(message []byte) bool {
	found := false
	fields(message, func(n protowire.Number, series []byte) {
		if n == 5 {
			fields(series, func(n protowire.Number, _ []byte) { found = found || n == 6 })
		}
	})
	return found
}

func fields(message []byte, each func(protowire.Number, []byte)) {
	for len(message) > 0 {
		n, wire, k := protowire.ConsumeTag(message)
		if k < 0 {
			return
		}
		message = message[k:]
		size := protowire.ConsumeFieldValue(n, wire, message)
		if size < 0 {
			return
		}
		content, _ := protowire.ConsumeBytes(message[:size])
		each(n, content)
		message = message[size:]
	}
}
