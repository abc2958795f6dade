// SPDX-License-Identifier: Apache-2.0

// Package delta makes OTLP metrics with delta temporality cumulative by the processor that Prometheus uses, too, that of the
// OpenTelemetry Collector. It remembers the sum of each stream, so it belongs where one process sees all of them.
package delta

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"sync"
	"time"

	processors "github.com/open-telemetry/opentelemetry-collector-contrib/processor/deltatocumulativeprocessor"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/otel/metric/noop"
)

// Config says whether deltas are converted, and how much is remembered for it.
type Config struct {
	// Enabled turns conversion on.
	Enabled bool
	// MaxStreams bounds the streams that are remembered; data points of others are rejected.
	MaxStreams int
	// MaxStale is how long a stream is remembered of which nothing comes.
	MaxStale time.Duration
}

// DefaultConfig returns the defaults, which are also those of the flags.
func DefaultConfig() Config { return Config{MaxStreams: 100_000, MaxStale: 5 * time.Minute} }

// RegisterFlags registers the flags with the present values as defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.BoolVar(&c.Enabled, "otlp.convert-delta", c.Enabled, "Make OTLP metrics with delta temporality cumulative by adding them up in memory. The sums begin at 0 again when the process does. All data points of a stream have to come to this process. As the feature flag otlp-deltatocumulative of Prometheus.")
	fs.IntVar(&c.MaxStreams, "otlp.convert-delta.max-streams", c.MaxStreams, "Streams (metrics with their attributes) that --otlp.convert-delta remembers at most; data points of others are rejected.")
	fs.DurationVar(&c.MaxStale, "otlp.convert-delta.max-stale", c.MaxStale, "How long --otlp.convert-delta remembers a stream of which nothing comes.")
}

// Validate names everything that is wrong with the configuration.
func (c Config) Validate() error {
	if c.MaxStreams < 1 {
		return fmt.Errorf("--otlp.convert-delta.max-streams=%d: must be at least 1", c.MaxStreams)
	}
	if c.MaxStale <= 0 {
		return fmt.Errorf("--otlp.convert-delta.max-stale=%s: must be positive", c.MaxStale)
	}
	return nil
}

// maxAnswerBytes bounds what is kept of the answers to earlier messages.
const maxAnswerBytes = 64 << 20

// Converter converts. It is safe for concurrent use.
type Converter struct {
	// mu is held over a whole conversion, so that a message that comes again while it is converted waits for the answer.
	mu        sync.Mutex
	processor processor.Metrics
	converted pmetric.Metrics // what the processor handed on

	// answers are those to the latest messages. A message whose samples could not be stored is sent again, but its deltas have
	// been added up already.
	answers  map[[sha256.Size]byte][]byte
	order    [][sha256.Size]byte // oldest first
	bytes    int
	maxBytes int
}

// New returns a converter. It forgets nothing until it is run.
func New(c Config) (*Converter, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	converter := &Converter{answers: make(map[[sha256.Size]byte][]byte), maxBytes: maxAnswerBytes}
	next, err := consumer.NewMetrics(func(_ context.Context, md pmetric.Metrics) error {
		converter.converted = md
		return nil
	})
	if err != nil {
		return nil, err
	}
	factory := processors.NewFactory()
	converter.processor, err = factory.CreateMetrics(context.Background(), processor.Settings{
		ID:                component.NewID(factory.Type()),
		TelemetrySettings: component.TelemetrySettings{MeterProvider: noop.NewMeterProvider()},
	}, &processors.Config{MaxStreams: c.MaxStreams, MaxStale: c.MaxStale}, next)
	if err != nil {
		return nil, fmt.Errorf("delta to cumulative: %w", err)
	}
	return converter, nil
}

// Run forgets stale streams until ctx ends.
func (c *Converter) Run(ctx context.Context) error {
	if err := c.processor.Start(ctx, nil); err != nil {
		return fmt.Errorf("delta to cumulative: %w", err)
	}
	<-ctx.Done()
	return c.processor.Shutdown(context.WithoutCancel(ctx))
}

// Convert implements ingest.DeltaConverter.
func (c *Converter) Convert(ctx context.Context, message []byte, md pmetric.Metrics) (pmetric.Metrics, error) {
	key := sha256.Sum256(message)
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer, have := c.answers[key]; have {
		return new(pmetric.ProtoUnmarshaler).UnmarshalMetrics(answer)
	}
	c.converted = pmetric.NewMetrics() // the processor hands nothing on of which nothing is left
	if err := c.processor.ConsumeMetrics(ctx, md); err != nil {
		return pmetric.Metrics{}, fmt.Errorf("delta to cumulative: %w", err)
	}
	out := c.converted
	c.converted = pmetric.Metrics{}
	answer, err := new(pmetric.ProtoMarshaler).MarshalMetrics(out)
	if err != nil {
		return pmetric.Metrics{}, fmt.Errorf("delta to cumulative: %w", err)
	}
	c.remember(key, answer)
	return out, nil
}

// remember keeps an answer, and forgets the oldest ones that it leaves no room for.
func (c *Converter) remember(key [sha256.Size]byte, answer []byte) {
	if len(answer) > c.maxBytes {
		return
	}
	c.answers[key] = answer
	c.order = append(c.order, key)
	c.bytes += len(answer) + len(key)
	for c.bytes > c.maxBytes {
		oldest := c.order[0]
		c.bytes -= len(c.answers[oldest]) + len(oldest)
		delete(c.answers, oldest)
		c.order = c.order[1:]
	}
}
