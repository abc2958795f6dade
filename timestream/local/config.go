// SPDX-License-Identifier: Apache-2.0

package local

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/local/batchload"
	"github.com/tributary-project/tributary/timestream/local/scheduled"
	"github.com/tributary-project/tributary/timestream/metering"
)

// Limits chooses how the size of a record is read, which the Developer Guide leaves open (ts-limits: "Maximum record
// size: 2 kilobytes").
type Limits string

const (
	// LimitsStrict is the narrowest reading: dimension names and values sum to at most 2,048 bytes, measure values too.
	LimitsStrict Limits = "strict"
	// LimitsObserved allows what tests against the service were seen to succeed with: 2,048 bytes for each pair of
	// dimension name and value, and for each measure value.
	LimitsObserved Limits = "observed"
)

// Config is what a DB is opened with. The zero value is not usable; start from DefaultConfig.
type Config struct {
	// Dir holds the database file; it is created when it is missing. One process at a time may have it open.
	Dir string
	// S3Dir is the directory of buckets that stands for S3 (package bucket): what loads from it, exports to it and reports into it has no other
	// place. Empty means that there are no buckets.
	S3Dir string
	// Region and AccountID appear in ARNs only.
	Region, AccountID string
	// DefaultDatabase and DefaultTable are created by Open when they are missing, with magnetic-store writes on; empty
	// means none.
	DefaultDatabase, DefaultTable string
	// MemoryRetentionHours and MagneticRetentionDays are what a table gets that is created without retention properties.
	MemoryRetentionHours, MagneticRetentionDays int64
	// MemoryLimit is how many bytes the process may take for the database: half of it are DuckDB's buffers (larger queries spill to Dir), and
	// HeapLimit is what is meant for Go's heap. The rest is for what neither counts.
	MemoryLimit flags.Bytes
	// Threads is the number of threads that DuckDB uses for one statement. With more than one, a caller spins while another
	// thread does the work, which on few cores costs more than it brings (writing took half the CPU time with one thread
	// on two busy cores). Statements run beside each other anyway.
	Threads int
	// Limits chooses the reading of the record size.
	Limits Limits
	// Quotas chooses whether the service's quotas of an account hold.
	Quotas Quotas
	// PastGrace and FutureGrace widen the ingestion window (Developer Guide, ts-limits: 15 minutes into the future; the
	// windows that the service prints in rejections are 40 minutes wider than the retention).
	PastGrace, FutureGrace time.Duration
	// AllowActions are the IAM actions that are granted, without the prefix `timestream:`; empty grants all. For tests
	// of clients that run under a narrow policy.
	AllowActions []string
	// WriteQueue is the number of WriteRecords requests that may wait for the writer; more are throttled.
	WriteQueue int
	// QueryConcurrency is the number of statements that run at one time, OpenResults the number of results whose
	// pages are still being fetched (those that QueryRows hands out do not count), and ResultIdle how long one waits for the next.
	QueryConcurrency, OpenResults int
	ResultIdle                    time.Duration
	// CallTime is how long a call waits for a page before it is answered without rows, and QueryTime how long a statement may work, over all
	// its pages. Statements of services in the same process have no such bounds.
	CallTime, QueryTime time.Duration
	// MaxResultBytes bounds the rows of a result, as they are sent.
	MaxResultBytes flags.Bytes
	// CheckpointLogSize is the size of the write-ahead log in bytes at which it is folded into the file. What is in the log
	// is in memory uncompressed as well, and is read again after a crash.
	CheckpointLogSize flags.Bytes
	// SnapshotMaxLog is how much the log may grow, in bytes, while a snapshot is copied, during which it is not folded into
	// the file; a snapshot that takes longer fails.
	SnapshotMaxLog flags.Bytes
	// VisibilityDelay is how long a record that was stored is not seen by queries, MagneticVisibilityDelay the same for those that
	// went to the magnetic store, for which the longer one counts. They are on disk meanwhile. At most MaxVisibilityDelay.
	VisibilityDelay, MagneticVisibilityDelay time.Duration
	// Cost is how it is counted what the workload would cost.
	Cost CostConfig
	// RetentionEvery is how often expired rows are deleted; they are invisible at once.
	RetentionEvery time.Duration

	// Logger, Registerer and Now may be nil: silence, no metrics, time.Now.
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time

	// ScheduledRuns is the number of scheduled queries that run at one time.
	ScheduledRuns int

	rewrite rewriteConfig
	// scheduleEvery is how often it is looked which scheduled queries are due.
	scheduleEvery time.Duration
	// saveLoadsEvery is batchload.SaveEvery, but for tests.
	saveLoadsEvery time.Duration
	// still leaves out the housekeeping, for tests that count or fail what the writer does.
	still bool
	// slice is how many samples a slice of a statement has, if it is not zero, for tests.
	slice int64
	// prefix begins the names of the flags.
	prefix string
}

// DefaultConfig returns the defaults: the service's own where it has some.
func DefaultConfig() Config {
	return Config{
		Dir:                   "data",
		Region:                "us-east-1",
		AccountID:             "000000000000",
		DefaultDatabase:       "PrometheusDatabase",
		DefaultTable:          "PrometheusMetricsTable",
		MemoryRetentionHours:  defaultMemoryHours,
		MagneticRetentionDays: defaultMagneticDays,
		MemoryLimit:           1 << 30,
		Threads:               max(1, min(runtime.GOMAXPROCS(0)/4, 8)),
		Limits:                LimitsStrict,
		Quotas:                QuotasOff,
		Cost:                  CostConfig{Prices: metering.ListPrices(), PricingModel: qtypes.QueryPricingModelComputeUnits},
		PastGrace:             25 * time.Minute,
		FutureGrace:           15 * time.Minute,
		WriteQueue:            4096,
		QueryConcurrency:      16,
		OpenResults:           64,
		ResultIdle:            5 * time.Minute,
		CallTime:              time.Minute,
		QueryTime:             time.Hour,
		MaxResultBytes:        5 << 30,
		CheckpointLogSize:     16 << 20,
		SnapshotMaxLog:        1 << 30,
		RetentionEvery:        10 * time.Minute,
		ScheduledRuns:         2,
		rewrite:               defaultRewrite(),
		scheduleEvery:         scheduled.Every,
		saveLoadsEvery:        batchload.SaveEvery,
	}
}

// The service's retention limits (Developer Guide, ts-limits).
const (
	defaultMemoryHours  = 6
	defaultMagneticDays = 73000
	maxMemoryHours      = 8766
	maxMagneticDays     = 73000
)

// RegisterFlags registers one flag per setting, with the present values as defaults, except those that other parts of a
// process may share: --data-dir, --region, --default-database and --default-table are the caller's to register. The
// flags' names begin with prefix, as do the errors that name them.
func (c *Config) RegisterFlags(fs *flag.FlagSet, prefix string) {
	c.prefix = prefix
	fs.StringVar(&c.S3Dir, prefix+s3Flag, c.S3Dir, "Directory in place of S3, created when missing: a bucket is a subdirectory, which you make, a key a path below it. Empty for no buckets.")
	fs.StringVar(&c.AccountID, prefix+"account-id", c.AccountID, "AWS account number that appears in ARNs.")
	fs.Int64Var(&c.MemoryRetentionHours, prefix+"memory-retention-hours", c.MemoryRetentionHours, "Memory-store retention of tables created without one, in hours (1 to 8766).")
	fs.Int64Var(&c.MagneticRetentionDays, prefix+"magnetic-retention-days", c.MagneticRetentionDays, "Magnetic-store retention of tables created without one, in days (1 to 73000).")
	fs.Var(&c.MemoryLimit, prefix+"memory-limit", "Memory of the process: half of it for DuckDB's buffers (larger queries spill to the data directory), three eighths for Go's heap.")
	fs.IntVar(&c.Threads, prefix+"threads", c.Threads, "Threads that DuckDB uses for one statement. More than one pays off with many cores.")
	fs.Var((*limitsFlag)(&c.Limits), prefix+"limits", "How the 2 KB limit of a record is read: strict (sum of the dimensions, sum of the measure values) or observed (each one).")
	fs.Var((*quotasFlag)(&c.Quotas), prefix+"quotas", "Whether an account's quotas hold: off, or service (the rates of calls of the control plane, 500 databases, 50000 tables, 250 active magnetic store partitions of a database, one UNLOAD a second).")
	fs.DurationVar(&c.PastGrace, prefix+"window.past-grace", c.PastGrace, "How much older than the retention a record may be.")
	fs.DurationVar(&c.FutureGrace, prefix+"window.future-grace", c.FutureGrace, "How far in the future a record may be.")
	fs.Var((*listFlag)(&c.AllowActions), prefix+"allow-actions", "Comma-separated IAM actions to grant (WriteRecords,Select,DescribeEndpoints,…); others are denied. Empty grants all.")
	fs.IntVar(&c.WriteQueue, prefix+"write-queue", c.WriteQueue, "WriteRecords requests that may wait for the writer; more are throttled.")
	fs.IntVar(&c.QueryConcurrency, prefix+"query.concurrency", c.QueryConcurrency, "Statements that run at one time; others wait.")
	fs.IntVar(&c.OpenResults, prefix+"query.open-results", c.OpenResults, "Results of several pages that are open at one time; more are throttled. Those of services in the same process do not count.")
	fs.DurationVar(&c.ResultIdle, prefix+"query.result-idle", c.ResultIdle, "How long a result of several pages waits for the request of the next page (the service: 1h).")
	fs.Int64Var(&c.rewrite.sealRows, prefix+"rewrite.part-records", c.rewrite.sealRows, "Records after which a part of a table is closed, sorted and encoded in the background.")
	fs.Var(&c.CheckpointLogSize, prefix+"checkpoint.log-size", "Size of the write-ahead log at which it is folded into the database file. It is read again after a crash.")
	fs.Var(&c.SnapshotMaxLog, prefix+"snapshot.max-log", "How much the write-ahead log may grow while a snapshot is copied; a snapshot that takes longer fails.")
	fs.DurationVar(&c.VisibilityDelay, prefix+"visibility-delay", c.VisibilityDelay, "How long a record that was stored is not seen by queries, as the service's reads are eventually consistent; it is on disk meanwhile. At most 24h.")
	fs.DurationVar(&c.MagneticVisibilityDelay, prefix+"magnetic-visibility-delay", c.MagneticVisibilityDelay, "How long a record in the magnetic store is not seen by queries (the service: up to 6h); it is on disk meanwhile. At most 24h.")
	fs.DurationVar(&c.CallTime, prefix+"query.call-timeout", c.CallTime, "How long a call of Query waits for a page; then it is answered by one without rows, and the statement goes on.")
	fs.DurationVar(&c.QueryTime, prefix+"query.timeout", c.QueryTime, "How long a statement may work, over all its pages.")
	fs.Var(&c.MaxResultBytes, prefix+"query.max-result-size", "Largest result of a statement, over all its pages.")
	fs.IntVar(&c.ScheduledRuns, prefix+"scheduled-queries.concurrency", c.ScheduledRuns, "Scheduled queries that run at one time; others wait.")
	c.Cost.RegisterFlags(fs, prefix)
	fs.DurationVar(&c.RetentionEvery, prefix+"retention-interval", c.RetentionEvery, "How often expired rows are deleted.")
}

// s3Flag is the flag of S3Dir, which errors name.
const s3Flag = "s3-dir"

var accountPattern = regexp.MustCompile(`^[0-9]{12}$`)

// actions are all that a policy may grant, so that a slip of the pen does not deny silently (Service Authorization Reference, Amazon
// Timestream).
var actions = [...]string{
	"CancelQuery", "CreateBatchLoadTask", "CreateDatabase", "CreateScheduledQuery", "CreateTable", "DeleteDatabase", "DeleteScheduledQuery", "DeleteTable",
	"DescribeAccountSettings", "DescribeBatchLoadTask", "DescribeDatabase", "DescribeEndpoints", "DescribeScheduledQuery", "DescribeTable", "ExecuteScheduledQuery",
	"GetAwsBackupStatus", "GetAwsRestoreStatus", "ListBatchLoadTasks", "ListDatabases", "ListMeasures", "ListScheduledQueries", "ListTables", "ListTagsForResource",
	"PrepareQuery", "ResumeBatchLoadTask", "Select", "SelectValues", "StartAwsBackupJob", "StartAwsRestoreJob", "TagResource", "Unload", "UntagResource",
	"UpdateAccountSettings", "UpdateDatabase", "UpdateScheduledQuery", "UpdateTable", "WriteRecords",
}

// Validate names everything that is wrong with the configuration, by flag.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Dir == "" {
		bad("--data-dir: must not be empty")
	}
	if c.Region == "" {
		bad("--region: must not be empty")
	}
	if !accountPattern.MatchString(c.AccountID) {
		bad("%s=%q: want 12 digits", c.flag("account-id"), c.AccountID)
	}
	if (c.DefaultDatabase == "") != (c.DefaultTable == "") {
		bad("--default-database and --default-table: both or neither")
	}
	for _, n := range []struct{ flag, name string }{{"default-database", c.DefaultDatabase}, {"default-table", c.DefaultTable}} {
		if n.name != "" && !timestream.ValidTableName(n.name) {
			bad("--%s=%q: %s", n.flag, n.name, timestream.TableNameRule)
		}
	}
	if c.MemoryRetentionHours < 1 || c.MemoryRetentionHours > maxMemoryHours {
		bad("%s=%d: want 1 to %d", c.flag("memory-retention-hours"), c.MemoryRetentionHours, maxMemoryHours)
	}
	if c.MagneticRetentionDays < 1 || c.MagneticRetentionDays > maxMagneticDays {
		bad("%s=%d: want 1 to %d", c.flag("magnetic-retention-days"), c.MagneticRetentionDays, maxMagneticDays)
	}
	if c.MemoryLimit < 128<<20 {
		bad("%s=%v: want at least 128MiB", c.flag("memory-limit"), &c.MemoryLimit)
	}
	if c.Threads < 1 {
		bad("%s=%d: want at least 1", c.flag("threads"), c.Threads)
	}
	if c.Limits != LimitsStrict && c.Limits != LimitsObserved {
		bad("%s=%q: want %s or %s", c.flag("limits"), c.Limits, LimitsStrict, LimitsObserved)
	}
	if c.Quotas != QuotasOff && c.Quotas != QuotasService {
		bad("%s=%q: want %s or %s", c.flag("quotas"), c.Quotas, QuotasOff, QuotasService)
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{{"window.past-grace", c.PastGrace}, {"window.future-grace", c.FutureGrace}} {
		if d.value < 0 {
			bad("%s=%v: must not be negative", c.flag(d.flag), d.value)
		}
	}
	for _, a := range c.AllowActions {
		if !slices.Contains(actions[:], a) {
			bad("%s: %q is no action of Timestream, such as WriteRecords or Select", c.flag("allow-actions"), a)
		}
	}
	for _, n := range []struct {
		flag  string
		value int
	}{{"write-queue", c.WriteQueue}, {"query.concurrency", c.QueryConcurrency}, {"query.open-results", c.OpenResults}, {"scheduled-queries.concurrency", c.ScheduledRuns}} {
		if n.value < 1 {
			bad("%s=%d: want at least 1", c.flag(n.flag), n.value)
		}
	}
	if c.rewrite.sealRows < 10 {
		bad("%s=%d: want at least 10", c.flag("rewrite.part-records"), c.rewrite.sealRows)
	}
	for _, n := range []struct {
		flag         string
		value, least flags.Bytes
	}{{"checkpoint.log-size", c.CheckpointLogSize, 64 << 10}, {"snapshot.max-log", c.SnapshotMaxLog, 1 << 20}, {"query.max-result-size", c.MaxResultBytes, 1}} {
		if n.value < n.least {
			bad("%s=%v: want at least %v", c.flag(n.flag), &n.value, &n.least)
		}
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{{"query.call-timeout", c.CallTime}, {"query.timeout", c.QueryTime}, {"query.result-idle", c.ResultIdle}, {"retention-interval", c.RetentionEvery}} {
		if d.value <= 0 {
			bad("%s=%v: must be positive", c.flag(d.flag), d.value)
		}
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{{"visibility-delay", c.VisibilityDelay}, {"magnetic-visibility-delay", c.MagneticVisibilityDelay}} {
		if d.value < 0 || d.value > MaxVisibilityDelay {
			bad("%s=%v: want 0 to %v", c.flag(d.flag), d.value, MaxVisibilityDelay)
		}
	}
	errs = append(errs, c.Cost.validate(c.flag))
	return errors.Join(errs...)
}

// flag is the name by which people know a setting.
func (c *Config) flag(name string) string { return "--" + c.prefix + name }

// Allowed tells whether an IAM action (without prefix) is granted.
func (c *Config) Allowed(action string) bool {
	return len(c.AllowActions) == 0 || slices.Contains(c.AllowActions, action)
}

type limitsFlag Limits

func (l *limitsFlag) String() string { return string(*l) }

func (l *limitsFlag) Set(s string) error {
	if s != string(LimitsStrict) && s != string(LimitsObserved) {
		return fmt.Errorf("want %s or %s", LimitsStrict, LimitsObserved)
	}
	*l = limitsFlag(s)
	return nil
}

// listFlag is a comma-separated list. The prefix `timestream:`, as policies write it, is dropped.
type listFlag []string

func (l *listFlag) String() string { return strings.Join(*l, ",") }

func (l *listFlag) Set(s string) error {
	*l = nil
	for _, item := range strings.Split(s, ",") {
		if item = strings.TrimPrefix(strings.TrimSpace(item), "timestream:"); item != "" {
			*l = append(*l, item)
		}
	}
	return nil
}

// databaseMemory is DuckDB's part of MemoryLimit.
func (c *Config) databaseMemory() int64 { return int64(c.MemoryLimit) / 2 }

// HeapLimit is the part of MemoryLimit, in bytes, that is meant for Go's heap: a process of which the database is all sets it as its
// soft limit (debug.SetMemoryLimit).
func (c *Config) HeapLimit() int64 { return int64(c.MemoryLimit) / 8 * 3 }
