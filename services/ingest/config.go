// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"errors"
	"flag"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/grpcserver"
	"github.com/tributary-project/tributary/internal/logging"
	"github.com/tributary-project/tributary/internal/tlsconfig"
	"github.com/tributary-project/tributary/services/ingest/internal/catalogue"
	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/client"
	"github.com/tributary-project/tributary/timestream/promschema"
)

// EnvPrefix starts the environment names of the flags.
const EnvPrefix = "TRIBUTARY"

// LowerCaseEnv returns the flags that are also read from the environment names of the awslabs connector.
func LowerCaseEnv() []string {
	return []string{"default-database", "default-table", "region", "enable-logging", "log.level", "log.format", "fail-on-long-label", "fail-on-invalid-sample-value"}
}

// ForeignEnv returns the variables of the AWS SDK that stand for flags. Region and endpoint are not among them: the SDK
// itself looks for those where the flags are silent.
func ForeignEnv() []flags.Foreign {
	return []flags.Foreign{{Flag: "ingest.write-retries", Env: "AWS_MAX_ATTEMPTS", Value: retriesOfAttempts}}
}

// retriesOfAttempts turns the SDK's number of attempts, which counts the first, into one of retries. To the SDK, 0 says
// nothing.
func retriesOfAttempts(attempts string) (string, error) {
	if attempts == "" {
		return "", nil
	}
	n, err := strconv.Atoi(attempts)
	if err != nil || n < 0 {
		return "", errors.New("want the number of attempts, the first included")
	}
	if n == 0 {
		return "", nil
	}
	return strconv.Itoa(n - 1), nil
}

// Config is that of an ingest process.
type Config struct {
	// Service is what an ingest service needs wherever it runs.
	Service ServiceConfig
	// Timestream says where Timestream is.
	Timestream client.Config
	// GRPC is the listener for the service.
	GRPC grpcserver.Config
	// AdminAddress is host:port of the HTTP listener for metrics, health and profiles.
	AdminAddress string
	// AdminTLS is the TLS of that listener.
	AdminTLS tlsconfig.Server
	// TelemetryPath is where that listener serves metrics.
	TelemetryPath string
	// Log says what is logged.
	Log logging.Config
}

// DefaultConfig returns the defaults, which are also those of the flags.
func DefaultConfig() Config {
	return Config{
		Service:       DefaultServiceConfig(),
		Timestream:    client.DefaultConfig(),
		GRPC:          grpcserver.DefaultConfig("127.0.0.1:9211"),
		AdminAddress:  "127.0.0.1:9212",
		TelemetryPath: "/metrics",
		Log:           logging.DefaultConfig(),
	}
}

// RegisterFlags registers the flags of an ingest process with the present values as defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.Service.Database, "default-database", c.Service.Database, "Timestream database to write to unless the request names another.")
	fs.StringVar(&c.Service.Table, "default-table", c.Service.Table, "Timestream table to write to unless the request names another.")
	c.Service.AllowedTables.RegisterFlag(fs)
	c.Service.RegisterFlags(fs)
	c.Timestream.RegisterFlags(fs)
	c.GRPC.RegisterFlags(fs)
	fs.StringVar(&c.AdminAddress, "web.listen-address", c.AdminAddress, "Address of the HTTP listener for metrics, health and profiles.")
	fs.StringVar(&c.TelemetryPath, "web.telemetry-path", c.TelemetryPath, "Path under which metrics are served.")
	c.AdminTLS.RegisterFlags(fs, "", "HTTP")
	c.Log.RegisterFlags(fs)
}

// Validate names everything that is wrong with the configuration.
func (c Config) Validate() error {
	var path error
	if !strings.HasPrefix(c.TelemetryPath, "/") {
		path = fmt.Errorf("--web.telemetry-path=%q: must begin with /", c.TelemetryPath)
	}
	return errors.Join(c.Service.Validate(), c.Timestream.Validate(), c.GRPC.Validate(), c.Log.Validate(), path, c.Service.ValidateConnections(c.Timestream))
}

// ServiceConfig is that of an ingest service, in a process of its own or in one with others.
type ServiceConfig struct {
	// Database and Table are where samples go unless the request says otherwise. Their flags and that of AllowedTables
	// belong to the process: reading uses the same ones.
	Database, Table string
	// AllowedTables are those that requests may name besides.
	AllowedTables timestream.TableList

	// MaxDecompressedBytes bounds a message after decompression.
	MaxDecompressedBytes flags.Bytes
	// MaxSamples bounds the samples, histograms and exemplars together, the series, and the metadata of a request.
	MaxSamples int
	// MaxInFlightRequests and MaxInFlightBytes bound what is decoded at a time; bytes are those of payload,
	// message and what is made of it.
	MaxInFlightRequests int
	MaxInFlightBytes    flags.Bytes
	// Timeout bounds a request whose caller set no deadline.
	Timeout time.Duration

	// MaxInFlightWrites and MaxInFlightWritesPerRequest bound the WriteRecords calls under way.
	MaxInFlightWrites, MaxInFlightWritesPerRequest int
	// BatchWait is how long a request that does not fill a batch waits for others to share one.
	BatchWait time.Duration
	// WriteRetries is how often one of them is repeated, WriteTimeout how long one attempt may take, and MinBackoff and
	// MaxBackoff how long the pauses between are.
	WriteRetries           int
	WriteTimeout           time.Duration
	MinBackoff, MaxBackoff time.Duration

	// LabelColumns are labels, besides the fixed ones, that get columns first. Comma-separated.
	LabelColumns string
	// PackedLabels matches, anchored, labels that get no column.
	PackedLabels string
	// MaxLabelColumns bounds the label columns of a table.
	MaxLabelColumns int
	// CatalogueRefresh is how often the table's columns and measure names are read again.
	CatalogueRefresh time.Duration
	// SeriesCacheSize bounds the encoded series that are kept.
	SeriesCacheSize int
	// MaxTables bounds the tables whose catalogues are kept.
	MaxTables int
	// Limits is strict or observed: how the service's limits on record sizes are read.
	Limits string

	// OTLP says how OTLP metrics become series.
	OTLP OTLPConfig

	// FailOnLongLabel rejects series whose metric name is longer than a measure name may be.
	FailOnLongLabel bool
	// FailOnInvalidSampleValue rejects samples that are not finite.
	FailOnInvalidSampleValue bool
}

// DefaultServiceConfig returns the defaults, which are also those of the flags.
func DefaultServiceConfig() ServiceConfig {
	return ServiceConfig{
		Database:                    "PrometheusDatabase",
		Table:                       "PrometheusMetricsTable",
		MaxDecompressedBytes:        32 << 20,
		MaxSamples:                  200_000,
		MaxInFlightRequests:         256,
		MaxInFlightBytes:            256 << 20,
		Timeout:                     25 * time.Second,
		MaxInFlightWrites:           160,
		MaxInFlightWritesPerRequest: 64,
		BatchWait:                   5 * time.Millisecond,
		WriteRetries:                5,
		WriteTimeout:                10 * time.Second,
		MinBackoff:                  100 * time.Millisecond,
		MaxBackoff:                  3 * time.Second,
		PackedLabels:                "label_.+|annotation_.+",
		MaxLabelColumns:             100,
		CatalogueRefresh:            5 * time.Minute,
		SeriesCacheSize:             100_000,
		MaxTables:                   64,
		Limits:                      "strict",
		OTLP:                        DefaultOTLPConfig(),
	}
}

// RegisterFlags registers the flags that concern only an ingest service, with the present values as defaults.
func (c *ServiceConfig) RegisterFlags(fs *flag.FlagSet) {
	fs.Var(&c.MaxDecompressedBytes, "ingest.max-decompressed-bytes", "Size of a write request after decompression at most.")
	fs.IntVar(&c.MaxSamples, "ingest.max-samples-per-request", c.MaxSamples, "Samples (histograms and exemplars are among them), and series, and metadata entries of a write request at most; 20 times as many labels, symbols and histogram buckets are accepted.")
	fs.IntVar(&c.MaxInFlightRequests, "ingest.max-inflight-requests", c.MaxInFlightRequests, "Write requests handled at the same time at most; others are told at once to try again.")
	fs.Var(&c.MaxInFlightBytes, "ingest.max-inflight-bytes", "Bytes of the write requests handled at the same time at most: compressed, decompressed, and about what becomes of them in memory; others are told at once to try again. A request that needs more than all of it gets in when there is no other.")
	fs.DurationVar(&c.Timeout, "ingest.timeout", c.Timeout, "How long a write request may take whose caller set no deadline.")
	fs.IntVar(&c.MaxInFlightWrites, "ingest.max-inflight-writes", c.MaxInFlightWrites, "WriteRecords calls to Timestream under way at the same time at most.")
	fs.IntVar(&c.MaxInFlightWritesPerRequest, "ingest.max-inflight-writes-per-request", c.MaxInFlightWritesPerRequest, "WriteRecords calls of one write request under way at the same time at most.")
	fs.DurationVar(&c.BatchWait, "ingest.batch-wait", c.BatchWait, "How long a write request of fewer than 100 records waits for others to share a WriteRecords call, which saves cost; at most 20ms. 0: not at all. Larger requests never wait.")
	fs.IntVar(&c.WriteRetries, "ingest.write-retries", c.WriteRetries, "How often a WriteRecords call is repeated when Timestream throttles, fails or cannot be reached. After that, or at the deadline, the sender is told to try again. AWS_MAX_ATTEMPTS counts the first attempt too; AWS_RETRY_MODE has no effect: these calls are repeated with random, growing pauses, and never held back, since Timestream scales by what it is asked. (--max-retries is about reads.)")
	fs.DurationVar(&c.WriteTimeout, "ingest.write-timeout", c.WriteTimeout, "How long one attempt of a WriteRecords call may take.")
	fs.DurationVar(&c.MinBackoff, "ingest.write-min-backoff", c.MinBackoff, "Pause before the first repetition of a WriteRecords call; it doubles from one to the next, and half of it is random.")
	fs.DurationVar(&c.MaxBackoff, "ingest.write-max-backoff", c.MaxBackoff, "Pause before a repetition of a WriteRecords call at most.")
	fs.StringVar(&c.LabelColumns, "ingest.label-columns", c.LabelColumns, "Labels, comma-separated, that become columns before others do, in addition to "+strings.Join(catalogue.Fixed(), ", ")+".")
	fs.StringVar(&c.PackedLabels, "ingest.packed-labels", c.PackedLabels, "Regular expression, anchored, for labels that are packed into one column with others, unless the table has a column of that name already. Empty: none.")
	fs.IntVar(&c.MaxLabelColumns, "ingest.max-label-columns", c.MaxLabelColumns, "Labels that become columns of a table at most, first come, first served; those beyond are packed. Which labels are columns is a matter of cost only.")
	fs.DurationVar(&c.CatalogueRefresh, "ingest.catalogue-refresh", c.CatalogueRefresh, "How often the columns and measure names of the table are read again.")
	fs.IntVar(&c.SeriesCacheSize, "ingest.series-cache-size", c.SeriesCacheSize, "Encoded series kept in memory at most, about 1.5 KiB each.")
	fs.IntVar(&c.MaxTables, "ingest.max-tables", c.MaxTables, "Tables named by requests whose catalogues are kept in memory at most.")
	fs.StringVar(&c.Limits, "timestream.limits", c.Limits, "How Timestream's limits on record sizes are read: strict (2,048 bytes for all dimensions of a record together) or observed (2,048 bytes for each).")
	c.OTLP.RegisterFlags(fs)
	fs.BoolVar(&c.FailOnLongLabel, "fail-on-long-label", c.FailOnLongLabel, "Reject series whose metric name is longer than 256 bytes. The default is to store them. (Changed from the awslabs connector, which ended the process; here the other series of the request are stored and the answer is 400.)")
	fs.BoolVar(&c.FailOnInvalidSampleValue, "fail-on-invalid-sample-value", c.FailOnInvalidSampleValue, "Reject samples that are NaN, staleness markers included, or infinite. The default is to store them. (Changed from the awslabs connector, which ended the process; here the other samples of the request are stored and the answer is 400.)")
}

// Validate names everything that is wrong with the configuration.
func (c ServiceConfig) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	positive := func(name string, v int) { check(v > 0, "--%s=%d: must be at least 1", name, v) }
	check(timestream.ValidTableName(c.Database), "--default-database=%q: %s", c.Database, timestream.TableNameRule)
	check(timestream.ValidTableName(c.Table), "--default-table=%q: %s", c.Table, timestream.TableNameRule)
	positive("ingest.max-decompressed-bytes", int(c.MaxDecompressedBytes))
	check(c.MaxDecompressedBytes <= 1<<30, "--ingest.max-decompressed-bytes=%s: must be at most 1GiB", c.MaxDecompressedBytes.String())
	positive("ingest.max-samples-per-request", c.MaxSamples)
	positive("ingest.max-inflight-requests", c.MaxInFlightRequests)
	check(c.MaxInFlightBytes >= 2*c.MaxDecompressedBytes, "--ingest.max-inflight-bytes=%s: must be at least twice --ingest.max-decompressed-bytes=%s, or such a request never gets in", c.MaxInFlightBytes.String(), c.MaxDecompressedBytes.String())
	check(c.Timeout > 0, "--ingest.timeout=%s: must be positive", c.Timeout)
	positive("ingest.max-inflight-writes", c.MaxInFlightWrites)
	positive("ingest.max-inflight-writes-per-request", c.MaxInFlightWritesPerRequest)
	check(c.BatchWait >= 0 && c.BatchWait <= 20*time.Millisecond, "--ingest.batch-wait=%s: must be 0 to 20ms", c.BatchWait)
	check(c.WriteRetries >= 0, "--ingest.write-retries=%d: must not be negative", c.WriteRetries)
	check(c.WriteTimeout > 0, "--ingest.write-timeout=%s: must be positive", c.WriteTimeout)
	check(c.MinBackoff > 0 && c.MinBackoff <= c.MaxBackoff, "--ingest.write-min-backoff=%s: must be positive and at most --ingest.write-max-backoff=%s", c.MinBackoff, c.MaxBackoff)
	for _, l := range c.labelColumns() {
		check(promschema.CanBeColumn(l), "--ingest.label-columns: %q cannot be the name of a Timestream dimension", l)
	}
	if _, err := c.packedLabels(); err != nil {
		errs = append(errs, fmt.Errorf("--ingest.packed-labels=%q: %w", c.PackedLabels, err))
	}
	check(c.MaxLabelColumns >= 0 && c.MaxLabelColumns <= catalogue.MaxLabelColumns, "--ingest.max-label-columns=%d: must be 0 to %d: a table has %d dimensions, of which the layout needs some", c.MaxLabelColumns, catalogue.MaxLabelColumns, timestream.MaxDimensionsPerTable)
	check(c.CatalogueRefresh >= time.Second, "--ingest.catalogue-refresh=%s: must be at least 1s", c.CatalogueRefresh)
	positive("ingest.series-cache-size", c.SeriesCacheSize)
	positive("ingest.max-tables", c.MaxTables)
	check(c.Limits == "strict" || c.Limits == "observed", "--timestream.limits=%q: want strict or observed", c.Limits)
	return errors.Join(append(errs, c.OTLP.Validate())...)
}

// ValidateConnections checks the service's configuration against that of the client it will be given: each call under way
// needs a connection.
func (c ServiceConfig) ValidateConnections(t client.Config) error {
	if t.MaxConnections < c.MaxInFlightWrites {
		return fmt.Errorf("--timestream.max-connections=%d: must be at least --ingest.max-inflight-writes=%d", t.MaxConnections, c.MaxInFlightWrites)
	}
	return nil
}

func (c ServiceConfig) labelColumns() []string { return split(c.LabelColumns) }

// split returns the elements of a comma-separated list that are not empty.
func split(list string) []string {
	var out []string
	for x := range strings.SplitSeq(list, ",") {
		if x = strings.TrimSpace(x); x != "" {
			out = append(out, x)
		}
	}
	return out
}

func (c ServiceConfig) packedLabels() (*regexp.Regexp, error) {
	if c.PackedLabels == "" {
		return nil, nil
	}
	return regexp.Compile("^(?s:" + c.PackedLabels + ")$")
}

func (c ServiceConfig) limits() promschema.Limits {
	if c.Limits == "observed" {
		return promschema.ObservedLimits()
	}
	return promschema.StrictLimits()
}
