// SPDX-License-Identifier: Apache-2.0

package query

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/grpcserver"
	"github.com/tributary-project/tributary/internal/tlsconfig"
	"github.com/tributary-project/tributary/timestream"

	"github.com/tributary-project/tributary/services/query/internal/engine"
)

// Config is what the flags say about a query service. How Timestream is reached is not part of it: a client is given to
// New.
type Config struct {
	// Database and Table are read when a request names none.
	Database, Table string
	// AllowedTables are those that requests may name besides.
	AllowedTables timestream.TableList

	// ListenAddress is where metrics, health and profiles are served over HTTP, host:port. Empty: nowhere.
	ListenAddress string
	// TLS of that listener.
	TLS tlsconfig.Server
	// TelemetryPath is where metrics are served.
	TelemetryPath string
	// GRPC is the listener of the service; an empty address means none. Its grace period follows from Timeout.
	GRPC grpcserver.Config

	// MaxRetries is how often one call to Timestream is made again.
	MaxRetries int
	// MaxSamples bounds the samples of one read; 0 means no bound.
	MaxSamples int64
	// MaxConcurrent is how many reads run at once. Up to waitingPerRunning times as many wait for their turn.
	MaxConcurrent int
	// MaxFrameBytes ends a frame of chunks.
	MaxFrameBytes flags.Bytes
	// Timeout bounds one read, its wait included.
	Timeout time.Duration
	// MaxResultBytes bounds the memory of all results together.
	MaxResultBytes flags.Bytes
	// Slices is in how many statements at once a long range is read, each of SliceMin at least.
	Slices   int
	SliceMin time.Duration
	// MaxExpressionBytes bounds an expression of PromQL.
	MaxExpressionBytes flags.Bytes
	// MaxQuerySamples bounds the samples that one PromQL query works on at a time.
	MaxQuerySamples int
	// MaxConcurrency is how many PromQL queries run at once. Up to waitingPerRunning times as many wait for their turn.
	MaxConcurrency int
	// LookbackDelta is how long a sample counts in PromQL.
	LookbackDelta time.Duration
	// MetadataLookback is how far listings look back that name no start.
	MetadataLookback time.Duration
	// PushDown lets Timestream leave out samples that a PromQL query does not need.
	PushDown bool
	// EnableFeature lists Prometheus' names of features, divided by commas.
	EnableFeature string
	// ActiveQueryLog is the directory of the file that tells after a crash which queries ran. Empty: none.
	ActiveQueryLog string
	// QueryLogFile is a file for a line of JSON per PromQL query. Empty: none.
	QueryLogFile string
	// MaxSQLRows bounds the rows of one SQL statement.
	MaxSQLRows int64
	// CatalogueMaxAge is how old the list of a table's columns may be that a result rests on.
	CatalogueMaxAge time.Duration
	// CatalogueRefresh is how old the list of metric names may be where the result does not rest on it.
	CatalogueRefresh time.Duration
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Database:           "PrometheusDatabase",
		Table:              "PrometheusMetricsTable",
		ListenAddress:      "127.0.0.1:9222",
		TelemetryPath:      "/metrics",
		GRPC:               grpcserver.DefaultConfig("127.0.0.1:9221"),
		MaxRetries:         3,
		MaxSamples:         50_000_000,
		MaxConcurrent:      10,
		MaxFrameBytes:      1 << 20,
		Timeout:            2 * time.Minute,
		MaxResultBytes:     1 << 30,
		MaxExpressionBytes: 512 << 10,
		MaxQuerySamples:    50_000_000,
		MaxConcurrency:     20,
		LookbackDelta:      5 * time.Minute,
		MetadataLookback:   24 * time.Hour,
		PushDown:           true,
		MaxSQLRows:         10_000,
		CatalogueRefresh:   time.Minute,
		Slices:             4,
		SliceMin:           12 * time.Hour,
	}
}

// Names of flags that appear in error texts.
const (
	maxConcurrentFlag = "storage.remote.read-concurrent-limit"
	timeoutFlag       = "query.timeout"

	maxQuerySamplesFlag    = "query.max-samples"
	maxExpressionBytesFlag = "query.max-expression-bytes"
	metadataLookbackFlag   = "query.metadata-lookback"
	maxSQLRowsFlag         = "sql.max-rows"
)

// RegisterFlags registers every flag of a process that is only a query service, with the present values as defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.Database, "default-database", c.Database, "Timestream database to read when a request names none.")
	fs.StringVar(&c.Table, "default-table", c.Table, "Timestream table to read when a request names none.")
	c.AllowedTables.RegisterFlag(fs)
	fs.StringVar(&c.ListenAddress, "web.listen-address", c.ListenAddress, "Address to serve metrics, health and profiles on. Empty: nowhere.")
	fs.StringVar(&c.TelemetryPath, "web.telemetry-path", c.TelemetryPath, "Path of the metrics.")
	c.TLS.RegisterFlags(fs, "", "HTTP")
	c.GRPC.RegisterFlags(fs)
	fs.Var(&c.MaxExpressionBytes, maxExpressionBytesFlag, "Longest expression of PromQL. Longer ones are refused, and so are those with more than 250 brackets open at a place or 3000 names, numbers and operators. The gateway has a flag of the same name.")
	c.RegisterReadFlags(fs)
}

// RegisterReadFlags registers the flags that are about reading alone, for a process that is other things too and has the
// rest in common: its destination and its listeners.
func (c *Config) RegisterReadFlags(fs *flag.FlagSet) {
	fs.IntVar(&c.MaxRetries, "max-retries", c.MaxRetries, "How often a call to Timestream that was throttled or not answered is made again. This is about reads; writes have flags of their own.")
	fs.Int64Var(&c.MaxSamples, "storage.remote.read-sample-limit", c.MaxSamples, "Samples, histograms included, that one read may return, in both forms of an answer (Prometheus bounds samples only; here every one is paid for). 0: no limit.")
	fs.IntVar(&c.MaxConcurrent, maxConcurrentFlag, c.MaxConcurrent, fmt.Sprintf("Reads that run at once. Up to %d times as many wait for their turn; further ones are refused.", waitingPerRunning))
	fs.Var(&c.MaxFrameBytes, "storage.remote.read-max-bytes-in-frame", "When a frame of an answer in chunks ends: once its chunks have this many bytes. A series that takes more frames than one is several series to Prometheus, which has the same default and takes frames of up to 50MB.")
	fs.DurationVar(&c.Timeout, timeoutFlag, c.Timeout, "Time for one read, one PromQL query or one listing, waiting for its turn included.")
	fs.Var(&c.MaxResultBytes, "query.max-result-bytes", "Memory for the results of all reads in flight (16 bytes a sample, histograms as they are, and labels). A read that goes beyond it fails.")
	fs.IntVar(&c.Slices, "query.slices", c.Slices, "In how many statements at once a long range is read, cut by time: the pages of one statement come one after the other. Each is metered on its own, 10 MB at least.")
	fs.DurationVar(&c.SliceMin, "query.slice-min", c.SliceMin, "The shortest range that one of several statements reads.")
	fs.IntVar(&c.MaxQuerySamples, maxQuerySamplesFlag, c.MaxQuerySamples, "Samples that one PromQL query may work on at a time, as Prometheus counts them. What it has loaded counts as a read's result (--query.max-result-bytes).")
	fs.IntVar(&c.MaxConcurrency, engine.MaxConcurrencyFlag, c.MaxConcurrency, fmt.Sprintf("PromQL queries that run at once. Up to %d times as many wait for their turn; further ones are refused.", waitingPerRunning))
	fs.DurationVar(&c.LookbackDelta, "query.lookback-delta", c.LookbackDelta, "How long a sample counts in PromQL.")
	fs.DurationVar(&c.MetadataLookback, metadataLookbackFlag, c.MetadataLookback, "How far back from their end listings of series, labels and exemplars look that name no start, and how long metadata counts. An answer that was bounded by it says so in a warning.")
	fs.BoolVar(&c.PushDown, "query.push-down", c.PushDown, "Let Timestream leave out samples that a PromQL query does not need: where only the last one before each step counts. Results are the same; false is for finding out.")
	fs.StringVar(&c.EnableFeature, "enable-feature", c.EnableFeature, "Features of PromQL to enable, divided by commas, by Prometheus' names: "+strings.Join(engine.FeatureNames(), ", ")+".")
	fs.StringVar(&c.ActiveQueryLog, "query.active-query-log", c.ActiveQueryLog, "Directory for the file queries.active, in which the PromQL queries are noted that run; after a crash the log tells which they were. Empty: none.")
	fs.StringVar(&c.QueryLogFile, "query.log-file", c.QueryLogFile, "File to which a line of JSON is appended for each PromQL query, as in Prometheus' query log. Empty: none.")
	fs.Int64Var(&c.MaxSQLRows, maxSQLRowsFlag, c.MaxSQLRows, "Rows that one SQL statement may return. More are cut off, with a warning.")
	fs.DurationVar(&c.CatalogueMaxAge, "query.catalogue-max-age", c.CatalogueMaxAge, "How old the list of a table's columns may be that a result rests on. 0s: it is read (DESCRIBE, not metered) when the first rows of a result are there, and the read begins again if a column has appeared: exact. Longer saves a call per read; but until then a label that is new to the table is missing from its series, and series that differ only in it are merged.")
	fs.DurationVar(&c.CatalogueRefresh, "query.catalogue-refresh-interval", c.CatalogueRefresh, "How often the list of metric names (SHOW MEASURES, not metered) is read again, where it only makes statements narrower and tells a table of a newer layout. Patterns of metric names are resolved against a list as new as --query.catalogue-max-age says.")
}

// Validate names everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, n := range []struct{ flag, value string }{{"default-database", c.Database}, {"default-table", c.Table}} {
		if !timestream.ValidTableName(n.value) {
			bad("--%s=%q: %s", n.flag, n.value, timestream.TableNameRule)
		}
	}
	if !strings.HasPrefix(c.TelemetryPath, "/") || strings.ContainsAny(c.TelemetryPath, "{} ") || c.TelemetryPath == "/" {
		bad("--web.telemetry-path=%q: want a path such as /metrics", c.TelemetryPath)
	}
	for _, n := range []struct {
		flag       string
		value, min int64
	}{
		{"max-retries", int64(c.MaxRetries), 0},
		{"storage.remote.read-sample-limit", c.MaxSamples, 0},
		{maxConcurrentFlag, int64(c.MaxConcurrent), 1},
		{"storage.remote.read-max-bytes-in-frame", int64(c.MaxFrameBytes), 1},
		{"query.max-result-bytes", int64(c.MaxResultBytes), 1 << 20},
		{maxExpressionBytesFlag, int64(c.MaxExpressionBytes), 1},
		{maxQuerySamplesFlag, int64(c.MaxQuerySamples), 1},
		{engine.MaxConcurrencyFlag, int64(c.MaxConcurrency), 1},
		{"query.slices", int64(c.Slices), 1},
		{maxSQLRowsFlag, c.MaxSQLRows, 1},
	} {
		if n.value < n.min {
			bad("--%s=%d: want at least %d", n.flag, n.value, n.min)
		}
	}
	for _, d := range []struct {
		flag       string
		value, min time.Duration
	}{
		{timeoutFlag, c.Timeout, time.Millisecond},
		{"query.lookback-delta", c.LookbackDelta, time.Millisecond},
		{metadataLookbackFlag, c.MetadataLookback, time.Millisecond},
		{"query.catalogue-max-age", c.CatalogueMaxAge, 0},
		{"query.slice-min", c.SliceMin, time.Second},
		{"query.catalogue-refresh-interval", c.CatalogueRefresh, 0},
	} {
		if d.value < d.min {
			bad("--%s=%s: want at least %s", d.flag, d.value, d.min)
		}
	}
	return errors.Join(errs...)
}
