// SPDX-License-Identifier: Apache-2.0

package store

import (
	"github.com/prometheus/prometheus/model/value"

	"github.com/tributary-project/tributary/services/ingest/internal/batch"
	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
	"github.com/tributary-project/tributary/timestream/promschema"
)

// starts follows the start timestamp of one series through a request. The one in force is ms, for samples from sinceMs on, of
// which latestMs is the latest.
type starts struct {
	loaded, known         bool
	ms, sinceMs, latestMs int64
	// record is the one that brought it into force, when this request did.
	record *batch.Extra
}

// start encodes the start timestamp of a sample unless it is in force already. A record is in force from its time until the
// next one of the series, so a sample that comes late and has another one than its neighbours needs a second record after
// it; and one that has none ends what is in force, unless it is a staleness marker, which has no start of its own. Every
// promschema.StartAgeMs it is stored once more, so that it does not expire before its samples. This is exact for samples that come in
// order to one process, and for late ones as far back as the last record; what was in force before that, or by another
// process, is not known.
func (e *encoder) start(sr *series.Series, enc *batch.Series, x series.Sample, st *starts) {
	if !st.loaded {
		st.loaded = true
		st.ms, st.sinceMs, st.latestMs, st.known = enc.Start()
	}
	inForce := st.known && x.TimeMs >= st.sinceMs
	switch {
	case x.StartMs == 0 && (!inForce || st.ms == 0 || value.IsStaleNaN(x.Value)):
		return
	case inForce && st.ms == x.StartMs && x.TimeMs < st.sinceMs+promschema.StartAgeMs:
		if x.TimeMs > st.latestMs {
			st.latestMs = x.TimeMs
		}
		if st.record != nil {
			st.record.Also++
			st.record.LatestMs = st.latestMs
			return
		}
		e.account.Store(ledger.StartTimestamps, 1)
		enc.SawStart(st.latestMs)
		return
	}
	if err := enc.Extend(promschema.StartFamily); err != nil {
		if x.StartMs != 0 {
			e.account.Reject(ledger.StartTimestamps, seriesReason(err), 1, func() string { return series.Text(sr.Labels) + ": " + err.Error() })
		}
		return
	}
	record := e.startRecord(enc, x.TimeMs, x.StartMs, x.StartMs == 0)
	switch {
	case !st.known || inForce && x.TimeMs > st.latestMs:
		record.InForce, record.LatestMs = true, x.TimeMs
		*st = starts{loaded: true, known: true, ms: x.StartMs, sinceMs: x.TimeMs, latestMs: x.TimeMs, record: record}
	case inForce && x.TimeMs < st.latestMs:
		e.startRecord(enc, x.TimeMs+1, st.ms, true)
	}
}

func (e *encoder) startRecord(enc *batch.Series, timeMs, startMs int64, silent bool) *batch.Extra {
	x := &batch.Extra{
		Kind: ledger.StartTimestamps, Family: promschema.StartFamily, Value: promschema.StartValue(startMs), StartMs: startMs, Silent: silent,
	}
	e.items = append(e.items, batch.NewExtra(enc, e.order, timeMs, x, len(e.items)))
	return x
}
