// SPDX-License-Identifier: Apache-2.0

// Package otlp turns OTLP's metrics into series: it decodes an ExportMetricsServiceRequest, protocol buffer or JSON, lets
// Prometheus' own translator name and lay out what is in it, and accounts for what it refuses. Decompression is left to the
// caller, and so is turning delta into cumulative temporality, which takes a memory of what came before.
//
// What counts as received: each sample, native histogram, exemplar and start timestamp that the translator makes of a data
// point, target_info included, and each distinct metadata entry. A data point of which it makes none is one received and
// rejected entry, a native histogram if it would have become one and a sample otherwise, and so is a target_info that cannot
// be made; a metric of an unknown type, whose data points cannot be seen, is one received and rejected sample.
package otlp

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/config"
	translator "github.com/prometheus/prometheus/storage/remote/otlptranslator/prometheusremotewrite"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
)

// Errors of Decode: nothing was decoded. Sending the same message again is of no use.
var (
	// ErrCorrupt: the message is not what it claims to be.
	ErrCorrupt = errors.New("corrupt message")
	// ErrTooMany: the message has, or would become, more entries than the limits allow.
	ErrTooMany = errors.New("too many entries in the message")
	// ErrTooLarge: the labels of what the message would become take more memory than the limits allow.
	ErrTooLarge = errors.New("too many bytes of labels in what the message becomes")
	// ErrDelta: the delta converter failed. Unlike the others it says nothing of the message, which may be sent again.
	ErrDelta = errors.New("delta temporality could not be converted")
)

// Format is how a message is encoded.
type Format int

// The formats of OTLP/HTTP.
const (
	Protobuf Format = iota
	JSON
)

// DeltaConverter makes cumulative metrics of those with delta temporality. It must see everything that belongs to a stream,
// and must give the same for the same message when that comes again: senders repeat what could not be stored.
type DeltaConverter interface {
	// Convert returns md with all delta metrics made cumulative, without the data points that it cannot convert. message
	// is what md was decoded from. md may be changed.
	Convert(ctx context.Context, message []byte, md pmetric.Metrics) (pmetric.Metrics, error)
}

// Options are the limits and the translation. The zero value of a limit that may be zero means none.
type Options struct {
	// MaxSamples bounds the data points of a message, what becomes of them, and what is generated beside them; four times as
	// many messages around and below data points and twenty times as many attributes and bucket counts are accepted.
	MaxSamples int
	// MaxLabelBytes bounds the labels of all that a message becomes: each data point repeats those of its resource.
	MaxLabelBytes int
	// MaxTimeMs is the last timestamp that can be stored; the first one is 0.
	MaxTimeMs int64
	// MaxMetricNameBytes bounds metric names; 0 means no bound.
	MaxMetricNameBytes int
	// RejectNonFinite refuses samples that are NaN or infinite.
	RejectNonFinite bool

	// Strategy, and what follows to LabelNamePreserveMultipleUnderscores, are the settings of the same names in the otlp
	// block of Prometheus' configuration.
	Strategy                             otlptranslator.TranslationStrategyOption
	PromoteAllResourceAttributes         bool
	PromoteResourceAttributes            []string
	IgnoreResourceAttributes             []string
	KeepIdentifyingResourceAttributes    bool
	ConvertHistogramsToNHCB              bool
	PromoteScopeMetadata                 bool
	LabelNameUnderscoreSanitization      bool
	LabelNamePreserveMultipleUnderscores bool

	// NativeDelta stores metrics of delta temporality as they are. Delta, unless nil, makes them cumulative first. With
	// neither they are rejected.
	NativeDelta bool
	Delta       DeltaConverter
}

// Decoder decodes messages. It is safe for concurrent use.
type Decoder struct {
	opts     Options
	settings translator.Settings
	promoted func(name string) bool
	hasher   *series.Hasher
}

// NewDecoder returns a decoder.
func NewDecoder(o Options, h *series.Hasher) *Decoder {
	named := make(map[string]struct{})
	for _, list := range [][]string{o.PromoteResourceAttributes, o.IgnoreResourceAttributes} {
		for _, n := range list {
			named[n] = struct{}{}
		}
	}
	return &Decoder{
		opts: o, hasher: h,
		promoted: func(name string) bool {
			_, is := named[name]
			return is != o.PromoteAllResourceAttributes
		},
		settings: translator.Settings{
			AddMetricSuffixes: o.Strategy.ShouldAddSuffixes(),
			AllowUTF8:         !o.Strategy.ShouldEscape(),
			PromoteResourceAttributes: translator.NewPromoteResourceAttributes(config.OTLPConfig{
				PromoteAllResourceAttributes: o.PromoteAllResourceAttributes,
				PromoteResourceAttributes:    o.PromoteResourceAttributes,
				IgnoreResourceAttributes:     o.IgnoreResourceAttributes,
			}),
			KeepIdentifyingResourceAttributes:    o.KeepIdentifyingResourceAttributes,
			ConvertHistogramsToNHCB:              o.ConvertHistogramsToNHCB,
			PromoteScopeMetadata:                 o.PromoteScopeMetadata,
			LabelNameUnderscoreSanitization:      o.LabelNameUnderscoreSanitization,
			LabelNamePreserveMultipleUnderscores: o.LabelNamePreserveMultipleUnderscores,
			AllowDeltaTemporality:                o.NativeDelta,
		},
	}
}

// Request is what a message becomes.
type Request struct {
	Series   []series.Series
	Metadata []series.Metadata

	bytes int
}

// Bytes is about what the request holds.
func (r *Request) Bytes() int64 { return int64(r.bytes) }

// Decode decodes a message and accounts for everything in it that is not in the result.
//
// room, unless nil, is asked before the message is parsed and before it is translated, with the bytes that will then be held
// in all, the message not counted.
//
// Errors are the ones above and those of ctx and room; the account is then of no use.
func (d *Decoder) Decode(ctx context.Context, f Format, message []byte, account *ledger.Account, room func(bytes int64) error) (*Request, error) {
	if room == nil {
		room = func(int64) error { return nil }
	}
	md, parsed, err := d.parse(f, message, room)
	if err != nil {
		return nil, err
	}
	c := checker{opts: &d.opts, settings: &d.settings, promoted: d.promoted, account: account}
	c.check(md)
	if c.delta {
		md, err = c.convert(ctx, d.opts.Delta, message, md)
		if err != nil {
			return nil, err
		}
	}
	expected := c.count(md)
	if n := expected.samples + expected.histograms; n > d.opts.MaxSamples {
		return nil, fmt.Errorf("%w: its data points become %d samples, at most %d are accepted", ErrTooMany, n, d.opts.MaxSamples)
	}
	if n := expected.labelBytes; n > d.opts.MaxLabelBytes {
		return nil, fmt.Errorf("%w: %d, at most %d are accepted", ErrTooLarge, n, d.opts.MaxLabelBytes)
	}
	if err := room(int64(parsed + expected.bytes())); err != nil {
		return nil, err
	}
	a := newAppender(d, account, expected)
	a.request.bytes = expected.bytes()
	_, err = translator.NewPrometheusConverter(a).FromMetrics(ctx, md, d.settings)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	a.reconcile(expected, err)
	return &a.request, nil
}

// parse decodes a message whose size in memory has been bounded, and returns about what that is.
func (d *Decoder) parse(f Format, message []byte, room func(int64) error) (_ pmetric.Metrics, bytes int, _ error) {
	request := pmetricotlp.NewExportRequest()
	limits := bounds{samples: d.opts.MaxSamples}
	scan, unmarshal := limits.scanProtobuf, request.UnmarshalProto
	if f == JSON {
		scan, unmarshal = limits.json, request.UnmarshalJSON
	}
	if err := scan(message); err != nil {
		return pmetric.Metrics{}, 0, err
	}
	bytes = len(message) + limits.bytes() // it copies all strings
	if err := room(int64(bytes)); err != nil {
		return pmetric.Metrics{}, 0, err
	}
	if err := unmarshal(message); err != nil {
		return pmetric.Metrics{}, 0, corrupt(err)
	}
	md := request.Metrics()
	if n := md.DataPointCount(); n > d.opts.MaxSamples {
		return pmetric.Metrics{}, 0, limits.tooMany("data points", d.opts.MaxSamples)
	}
	return md, bytes, nil
}

// corrupt marks an error of a parser.
func corrupt(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}
