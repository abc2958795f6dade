// SPDX-License-Identifier: Apache-2.0

package otlp

import (
	"bytes"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	promexemplar "github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"

	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
)

// The series that the translator makes of a resource.
const (
	targetInfo     = "target_info"
	targetInfoHelp = "Target metadata"
)

// maxTargetInfo bounds the samples of one target_info. The translator makes one for each two and a half minutes between the
// first and the last data point of a resource, so a single wrong timestamp would ask for millions; these are 41 hours.
const maxTargetInfo = 1000

var errTargetInfo = fmt.Errorf("target_info: its samples end after the first %d intervals of 150 s, for the data points of its resource lie further apart", maxTargetInfo)

// appender collects what the translator appends. It is not safe for concurrent use.
type appender struct {
	opts    *Options
	hasher  *series.Hasher
	account *ledger.Account
	request Request

	// The slices of the series are windows of these.
	labels  []series.Label
	text    []byte
	samples []series.Sample

	// last are the labels of the last series; unless they have a fault it is the last one of the request, and from is where
	// its samples begin.
	last  labels.Labels
	fault fault
	from  int

	metadata map[metadataKey]struct{}
	lastMeta metadataKey

	// done is what was appended. Its targets include the samples that only look as if they were of the translator's own
	// target_info.
	done counts
}

type metadataKey struct {
	name, help, unit string
	kind             model.MetricType
}

func newAppender(d *Decoder, account *ledger.Account, expected counts) *appender {
	return &appender{
		opts: &d.opts, hasher: d.hasher, account: account,
		samples:  make([]series.Sample, 0, expected.samples),
		metadata: make(map[metadataKey]struct{}),
		request:  Request{Series: make([]series.Series, 0, expected.samples+expected.histograms)},
	}
}

// Commit implements storage.AppenderV2; there is nothing to do.
func (a *appender) Commit() error { return nil }

// Rollback implements storage.AppenderV2; it is not called.
func (a *appender) Rollback() error { return nil }

// Append implements storage.AppenderV2. It returns an error only to end a target_info that goes on and on.
func (a *appender) Append(_ storage.SeriesRef, ls labels.Labels, startMs, timeMs int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, o storage.AOptions) (storage.SeriesRef, error) {
	kind := ledger.Samples
	if h != nil || fh != nil {
		kind = ledger.Histograms
	}
	again := !a.last.IsEmpty() && labels.Equal(ls, a.last)
	switch {
	case o.MetricFamilyName == targetInfo && o.Metadata.Help == targetInfoHelp && o.Metadata.Type == model.MetricTypeGauge:
		if a.done.targets >= a.opts.MaxSamples || again && len(a.samples)-a.from >= maxTargetInfo {
			return 0, errTargetInfo
		}
		a.done.targets++
	case kind == ledger.Histograms:
		a.done.histograms++
	default:
		a.done.samples++
	}
	a.done.exemplars += len(o.Exemplars)

	a.account.Receive(kind, 1)
	a.account.Receive(ledger.Exemplars, len(o.Exemplars))
	if startMs != 0 {
		a.account.Receive(ledger.StartTimestamps, 1)
	}
	if !again {
		a.begin(ls)
	}
	if a.fault.is() {
		a.reject(kind, startMs, a.fault)
		a.account.Reject(ledger.Exemplars, a.fault.reason, len(o.Exemplars), nil)
		return 0, nil
	}
	a.describe(o)
	s := &a.request.Series[len(a.request.Series)-1]
	for _, e := range o.Exemplars {
		a.exemplar(s, e, timeMs)
	}
	if f := a.valueFault(timeMs, v, h, fh); f.is() {
		f.text = series.Text(s.Labels) + ": " + f.text
		a.reject(kind, startMs, f)
		return 0, nil
	}
	if startMs < 0 || startMs > a.opts.MaxTimeMs {
		a.account.Reject(ledger.StartTimestamps, ledger.OutOfRange, 1, func() string {
			return series.Text(s.Labels) + ": its start timestamp is " + a.outside(startMs)
		})
		startMs = 0
	}
	switch {
	case h != nil:
		p := prompb.FromIntHistogram(0, h)
		s.Histograms = append(s.Histograms, series.Histogram{TimeMs: timeMs, StartMs: startMs, H: &p})
	case fh != nil:
		p := prompb.FromFloatHistogram(0, fh)
		s.Histograms = append(s.Histograms, series.Histogram{TimeMs: timeMs, StartMs: startMs, H: &p})
	default:
		a.samples = append(a.samples, series.Sample{TimeMs: timeMs, StartMs: startMs, Value: v})
		s.Samples = a.samples[a.from:len(a.samples):len(a.samples)]
	}
	return 0, nil
}

// reject accounts for a sample or histogram that is refused, with its start timestamp.
func (a *appender) reject(k ledger.Kind, startMs int64, f fault) {
	a.account.Reject(k, f.reason, 1, func() string { return f.text })
	if startMs != 0 {
		a.account.Reject(ledger.StartTimestamps, f.reason, 1, nil)
	}
}

// begin makes a series of labels, or says what is wrong with them.
func (a *appender) begin(ls labels.Labels) {
	a.end()
	a.last, a.from = ls, len(a.samples)
	n := 0
	ls.Range(func(l labels.Label) { n += len(l.Name) + len(l.Value) })
	a.text = room(a.text, n, 16<<10)
	a.labels = room(a.labels, ls.Len(), 256)
	first := len(a.labels)
	var hash series.Hash
	ls.Range(func(l labels.Label) {
		x := series.Label{Name: a.copy(l.Name), Value: a.copy(l.Value)}
		hash.Add(series.Pair(a.hasher.Text(x.Name), a.hasher.Text(x.Value)))
		a.labels = append(a.labels, x)
	})
	own := a.labels[first:len(a.labels):len(a.labels)]
	if a.fault = labelsFault(own, a.opts.MaxMetricNameBytes); a.fault.is() {
		a.fault.text = series.Text(own) + ": " + a.fault.text
		return
	}
	a.request.Series = append(a.request.Series, series.Series{Labels: own, Hash: hash})
}

// end takes the last series away if nothing came of it.
func (a *appender) end() {
	n := len(a.request.Series)
	if n == 0 || a.fault.is() {
		return
	}
	if s := &a.request.Series[n-1]; len(s.Samples) == 0 && len(s.Histograms) == 0 && len(s.Exemplars) == 0 {
		a.request.Series = a.request.Series[:n-1]
	}
}

func (a *appender) copy(s string) []byte {
	from := len(a.text)
	a.text = append(a.text, s...)
	return a.text[from:len(a.text):len(a.text)]
}

// room returns chunk if it has room for n more, else a new one: what lies in the old one stays where it is.
func room[T any](chunk []T, n, size int) []T {
	if cap(chunk)-len(chunk) >= n {
		return chunk
	}
	return make([]T, 0, max(n, size))
}

// labelsFault checks what series.Series promises, and that there is a metric name no longer than limit, if there is one.
func labelsFault(ls []series.Label, limit int) fault {
	named := false
	for i, l := range ls {
		switch {
		case len(l.Name) == 0:
			return fault{ledger.EmptyLabelName, "a label without a name"}
		case !utf8.Valid(l.Name) || !utf8.Valid(l.Value):
			return fault{ledger.InvalidUTF8, "a label name or value is not UTF-8"}
		case i > 0 && bytes.Equal(ls[i-1].Name, l.Name):
			return fault{ledger.DuplicateLabelName, "a label name occurs twice"}
		case string(l.Name) == model.MetricNameLabel:
			named = true
			if limit > 0 && len(l.Value) > limit {
				return fault{ledger.MetricNameTooLong, fmt.Sprintf("its metric name is longer than %d bytes; --fail-on-long-label refuses it", limit)}
			}
		}
	}
	if !named {
		return fault{ledger.MissingMetricName, "no metric name (label __name__)"}
	}
	return fault{}
}

func (a *appender) outside(ms int64) string {
	return fmt.Sprintf("%d ms, outside 0 to %d", ms, a.opts.MaxTimeMs)
}

func (a *appender) valueFault(timeMs int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram) fault {
	if timeMs < 0 || timeMs > a.opts.MaxTimeMs {
		return fault{ledger.OutOfRange, "its timestamp is " + a.outside(timeMs)}
	}
	var err error
	switch {
	case h != nil:
		err = h.Validate()
	case fh != nil:
		err = fh.Validate()
	case a.opts.RejectNonFinite && (math.IsNaN(v) || math.IsInf(v, 0)):
		return fault{ledger.NonFiniteValue, fmt.Sprintf("%v at %d ms; --fail-on-invalid-sample-value refuses it", v, timeMs)}
	}
	if err != nil {
		return fault{ledger.InvalidHistogram, err.Error()}
	}
	return fault{}
}

// exemplar adds an exemplar to a series. One without a time has that of its sample.
func (a *appender) exemplar(s *series.Series, e promexemplar.Exemplar, timeMs int64) {
	x := series.Exemplar{Value: e.Value, TimeMs: e.Ts}
	if !e.HasTs {
		x.TimeMs = timeMs
	}
	var f fault
	if x.TimeMs < 0 || x.TimeMs > a.opts.MaxTimeMs {
		f = fault{ledger.OutOfRange, "an exemplar's timestamp is " + a.outside(x.TimeMs)}
	}
	e.Labels.Range(func(l labels.Label) {
		if l.Value == "" || f.is() {
			return // an empty value says that the label is absent
		}
		n := len(x.Labels)
		switch {
		case l.Name == "":
			f = fault{ledger.InvalidExemplar, "an exemplar's label without a name"}
		case !utf8.ValidString(l.Name) || !utf8.ValidString(l.Value):
			f = fault{ledger.InvalidExemplar, "an exemplar's label is not UTF-8"}
		case n > 0 && string(x.Labels[n-1].Name) == l.Name:
			f = fault{ledger.InvalidExemplar, "a label name occurs twice in an exemplar"}
		}
		x.Labels = append(x.Labels, series.Label{Name: []byte(l.Name), Value: []byte(l.Value)})
	})
	if f.is() {
		a.account.Reject(ledger.Exemplars, f.reason, 1, func() string { return series.Text(s.Labels) + ": " + f.text })
		return
	}
	s.Exemplars = append(s.Exemplars, x)
}

// describe keeps what an append says of its metric, once.
func (a *appender) describe(o storage.AOptions) {
	k := metadataKey{o.MetricFamilyName, o.Metadata.Help, o.Metadata.Unit, o.Metadata.Type}
	if k == a.lastMeta || k.help == "" && k.unit == "" && (k.kind == "" || k.kind == model.MetricTypeUnknown) {
		return
	}
	a.lastMeta = k
	if _, seen := a.metadata[k]; seen {
		return
	}
	a.metadata[k] = struct{}{}
	a.account.Receive(ledger.Metadata, 1)
	if !utf8.ValidString(k.name) || !utf8.ValidString(k.help) || !utf8.ValidString(k.unit) {
		a.account.Reject(ledger.Metadata, ledger.InvalidMetadata, 1, func() string {
			return "metric " + series.Quote([]byte(k.name)) + ": its description or unit is not UTF-8"
		})
		return
	}
	m := series.Metadata{Name: []byte(k.name), Type: prompb.FromMetadataType(k.kind), Help: []byte(k.help), Unit: []byte(k.unit)}
	m.Hash = series.MetadataHash(a.hasher.Text(m.Name), a.hasher.Text(m.Help), a.hasher.Text(m.Unit), m.Type)
	a.request.Metadata = append(a.request.Metadata, m)
}

// reconcile ends the request and accounts for what was expected of the translator and did not come.
func (a *appender) reconcile(expected counts, err error) {
	a.end()
	errs := leaves(err, nil)
	text := func(i int) func() string {
		if i >= len(errs) {
			return nil
		}
		return func() string { return errs[i].Error() }
	}
	lost := 0
	for kind, n := range map[ledger.Kind]int{
		ledger.Samples:    expected.samples - expected.targets - a.done.samples,
		ledger.Histograms: expected.histograms - a.done.histograms,
		ledger.Exemplars:  expected.exemplars - a.done.exemplars,
	} {
		if n <= 0 {
			continue
		}
		lost += n
		a.account.Receive(kind, n)
		a.account.Reject(kind, ledger.Untranslatable, n, text(0))
	}
	if lost > 0 {
		return
	}
	// Then it was each time a target_info that could not be made.
	for i := range errs {
		a.account.Receive(ledger.Samples, 1)
		a.account.Reject(ledger.Samples, ledger.Untranslatable, 1, text(i))
	}
}

// leaves appends the errors that were joined.
func leaves(err error, to []error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // only what errors.Join made is taken apart
		for _, e := range joined.Unwrap() {
			to = leaves(e, to)
		}
		return to
	}
	if err != nil {
		to = append(to, err)
	}
	return to
}
