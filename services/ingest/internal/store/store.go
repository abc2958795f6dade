// SPDX-License-Identifier: Apache-2.0

// Package store appends series to Timestream tables: it encodes them by the layout of promschema with the help of the
// tables' catalogues, sends them in batches, and accounts for every entry. Decoding and validating write messages in
// Prometheus' terms is left to others.
package store

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tributary-project/tributary/services/ingest/internal/batch"
	"github.com/tributary-project/tributary/services/ingest/internal/catalogue"
	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/send"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/promschema"
)

// Config says how series are stored.
type Config struct {
	// Database and Table are the configured table. Should it be missing, writing to it is deferred until it exists; a
	// missing table that a caller named is an error of his.
	Database, Table string
	// Catalogue says how labels become columns.
	Catalogue catalogue.Config
	// CatalogueRefresh is how often the catalogues are read again.
	CatalogueRefresh time.Duration
	// Limits are those of a record.
	Limits promschema.Limits
	// CacheSize bounds the encoded series that are kept.
	CacheSize int
	// MaxTables bounds the tables whose catalogues are kept.
	MaxTables int
	// InFlight bounds the calls of one request.
	InFlight int
	// ShareWait is how long a request that does not fill a batch waits for others to share one; 0: not at all.
	ShareWait time.Duration
}

// Writer is the part of the Timestream write API that is used; *timestreamwrite.Client satisfies it. It must not retry by
// itself. Its input is used again as soon as a call has returned. One that is a BodyWriter too is given bodies.
type Writer interface {
	WriteRecords(context.Context, *timestreamwrite.WriteRecordsInput, ...func(*timestreamwrite.Options)) (*timestreamwrite.WriteRecordsOutput, error)
}

// BodyWriter takes the request as the JSON document that the API takes. The body does not change before release is called,
// once for each call.
type BodyWriter interface {
	WriteRecordsBody(ctx context.Context, body []byte, release func()) (*timestreamwrite.WriteRecordsOutput, error)
}

// Entries are what a request brings.
type Entries struct {
	Series   []series.Series
	Metadata []series.Metadata
	// Starts says that samples could have start timestamps: one without has none. Otherwise it says nothing about that.
	Starts bool
	// Room, unless nil, is asked before the request takes so many bytes more than its entries tell: for series that are
	// encoded because they are not in the cache, which live at least as long as the request.
	Room func(bytes int64) error
}

// Destination is a table.
type Destination struct{ Database, Table string }

// String returns the name as SQL has it.
func (d Destination) String() string { return d.Database + "." + d.Table }

// NotFoundError says that a table named by the caller does not exist.
type NotFoundError struct {
	Destination Destination
	// Text is what Timestream says.
	Text string
}

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("table %s does not exist: %s", e.Destination, e.Text)
}

// Store appends series. It is safe for concurrent use.
type Store struct {
	cfg    Config
	writer Writer
	sender *send.Sender
	query  catalogue.Querier
	logger *slog.Logger
	now    func() time.Time
	cache  *cache
	// metadata is what was stored within the last hour.
	metadata   *recent
	histograms *promschema.HistogramEncoder

	mu     sync.Mutex
	tables map[Destination]*table
	nextID uint64
	uses   uint64

	lessons chan lesson // for Run

	builders sync.Pool // of *batch.Builder
	memory   sync.Pool // of *memory

	metered   prometheus.Counter
	units     prometheus.Counter
	records   prometheus.Histogram
	encoded   prometheus.Counter
	reencoded prometheus.Counter
	bisected  prometheus.Counter
	shared    prometheus.Counter
}

// table is what is kept of a destination.
type table struct {
	id          uint64
	destination Destination
	catalogue   *catalogue.Table
	lastUse     uint64

	// order is how its records are sorted; learned is when that was last found out, in Unix milliseconds.
	order   atomic.Pointer[batch.Order]
	learned atomic.Int64

	sharing sync.Mutex
	open    *crew // waits for more small requests; nil when there is none
}

// New returns a store. query may be nil: the catalogues then stay empty and encoding is optimistic.
func New(cfg Config, writer Writer, sender *send.Sender, query catalogue.Querier, logger *slog.Logger, reg prometheus.Registerer, now func() time.Time) *Store {
	s := &Store{
		cfg: cfg, writer: writer, sender: sender, query: query, logger: logger, now: now,
		metadata: newRecent(maxRecentMetadata, metadataAge), histograms: promschema.NewHistogramEncoder(),
		lessons: make(chan lesson, 1),
		cache:   newCache(cfg.CacheSize), tables: map[Destination]*table{},
		metered: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tributary_ingest_metered_bytes_total", Help: "Bytes written as Timestream meters them, names counted, before rounding.",
		}),
		units: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tributary_ingest_write_units_total", Help: "Write units of 1 KiB as Timestream counts them: the metered bytes of each call, rounded up. Writes are priced by them.",
		}),
		records: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tributary_ingest_batch_records", Help: "Records in a WriteRecords call; 100 is the most.",
			Buckets: []float64{1, 2, 5, 10, 20, 50, 75, 99, 100},
		}),
		encoded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tributary_ingest_series_encoded_total", Help: "Series encoded because they were not in the cache; --ingest.series-cache-size bounds it.",
		}),
		reencoded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tributary_ingest_samples_reencoded_total", Help: "Samples encoded anew and sent again because the table refused a name for its limits or types.",
		}),
		bisected: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tributary_ingest_batches_bisected_total", Help: "Calls halved because Timestream refused them whole as invalid.",
		}),
		shared: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tributary_ingest_shared_batches_total", Help: "Batches that hold records of more than one request; --ingest.batch-wait is how long a small request waits for others.",
		}),
	}
	s.builders.New = func() any { return new(batch.Builder) }
	s.memory.New = func() any { return new(memory) }
	reg.MustRegister(s.metered, s.units, s.records, s.encoded, s.reencoded, s.bisected, s.shared,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tributary_ingest_series_cached", Help: "Encoded series in the cache.",
		}, func() float64 { return float64(s.cache.size()) }))
	return s
}

const (
	// firstLoad is how long the first request for a table waits for its catalogue.
	firstLoad = time.Second
	// backgroundLoad bounds a reading that nobody waits for.
	backgroundLoad = 30 * time.Second
	// refreshForRequest bounds the wait of a request whose names the table refused.
	refreshForRequest = 5 * time.Second
	// minRefreshAge keeps refused names from reading the catalogue all the time; where it is read from the data that
	// scans the records of a day, so minDegradedAge holds.
	minRefreshAge  = 2 * time.Second
	minDegradedAge = 10 * time.Minute
	// retryLoad is when a catalogue that could not be read is tried again.
	retryLoad = 10 * time.Second
)

// Run keeps the catalogues fresh until ctx ends, beginning with that of the configured table, and learns from requests how
// their records are best sorted.
func (s *Store) Run(ctx context.Context) error {
	ticker := time.NewTicker(min(retryLoad, s.cfg.CatalogueRefresh))
	defer ticker.Stop()
	refresh := func(t *table, age time.Duration) {
		ctx, cancel := context.WithTimeout(ctx, backgroundLoad)
		defer cancel()
		t.catalogue.Refresh(ctx, age)
	}
	refresh(s.table(Destination{s.cfg.Database, s.cfg.Table}), 0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case l := <-s.lessons:
			l.table.learn(l.items, s.logger)
			continue
		case <-ticker.C:
		}
		s.mu.Lock()
		var all []*table
		for _, t := range s.tables {
			all = append(all, t)
		}
		s.mu.Unlock()
		for _, t := range all {
			age := s.cfg.CatalogueRefresh
			switch st := t.catalogue.State(); {
			case !st.Loaded && st.Degraded:
				age = max(age, minDegradedAge) // what is read instead scans the records of a day, whether it then ends in time or not
			case !st.Loaded:
				age = min(age, retryLoad)
			case st.Degraded:
				age = max(age, time.Hour)
			}
			refresh(t, age)
		}
	}
}

// Catalogue tells how the catalogue of the configured table fares.
func (s *Store) Catalogue() catalogue.State {
	return s.table(Destination{s.cfg.Database, s.cfg.Table}).catalogue.State()
}

// table returns what is kept of a destination. Of too many, the one that was not used for the longest time goes.
func (s *Store) table(d Destination) *table {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uses++
	if t := s.tables[d]; t != nil {
		t.lastUse = s.uses
		return t
	}
	if len(s.tables) >= s.cfg.MaxTables {
		var oldest *table
		for _, t := range s.tables {
			if oldest == nil || t.lastUse < oldest.lastUse {
				oldest = t
			}
		}
		delete(s.tables, oldest.destination)
	}
	s.nextID++
	t := &table{
		id: s.nextID, destination: d, lastUse: s.uses,
		catalogue: catalogue.New(d.Database, d.Table, s.cfg.Catalogue, s.query, s.logger, s.now),
	}
	t.order.Store(batch.NewOrder())
	s.tables[d] = t
	return t
}

// Append stores what a request brings and accounts for all of it in a: stored, duplicate, rejected, or, when the sender has
// to come again, deferred. The entries are not used after it returns. The error is a *NotFoundError, or that of the entries'
// Room, after which nothing was sent; a is then of no use.
func (s *Store) Append(ctx context.Context, d Destination, in Entries, a *ledger.Account) error {
	if len(in.Series) == 0 && len(in.Metadata) == 0 {
		return nil
	}
	t := s.table(d)
	t.catalogue.EnsureLoaded(ctx, firstLoad)

	mem := s.memory.Get().(*memory)
	j := &job{store: s, table: t, account: a, left: mem.left}
	e := encoder{store: s, table: t, account: a, items: mem.items[:0], order: t.order.Load(), nowMs: s.now().UnixMilli()}
	err := e.encode(in)
	mem.items = e.items
	defer func() {
		mem.left = j.left
		s.release(mem)
	}()
	if err != nil {
		return err
	}
	items, later := mem.sorter.Sort(mem.items), []batch.Item(nil)
	if e.histograms {
		items, later = batch.Distinct(items)
	}
	s.offer(t, items, e.nowMs)
	if s.cfg.ShareWait > 0 && len(items) < timestream.MaxRecordsPerWrite && len(items) > 0 {
		s.share(ctx, j, items)
	} else {
		j.round(ctx, items)
	}
	j.round(ctx, later)
	// A record can have two faults that only another encoding cures: its measure's type, and then a label.
	for round := 0; round < 2; round++ {
		again := j.encodeAgain(ctx)
		if len(again) == 0 {
			break
		}
		j.final = round == 1
		j.round(ctx, mem.sorter.Sort(again))
	}
	if j.full {
		t.catalogue.Full()
	}
	if f := j.failure; f != nil {
		if f.Cause == send.TableMissing && d != (Destination{s.cfg.Database, s.cfg.Table}) {
			return &NotFoundError{d, f.Text}
		}
		postpone(d, f, a)
	}
	return nil
}

// lesson is a request to learn from.
type lesson struct {
	table *table
	items []batch.Item
}

const (
	// minLesson is how many items say something about the requests of a table.
	minLesson = 500
	// learnEvery is how often the order of a table's records is thought over, in milliseconds.
	learnEvery = 60_000
)

// offer gives a copy of a request's items to Run, now and then, if that has time for it.
func (s *Store) offer(t *table, items []batch.Item, nowMs int64) {
	last := t.learned.Load()
	if len(items) < minLesson || nowMs-last < learnEvery || !t.learned.CompareAndSwap(last, nowMs) {
		return
	}
	select {
	case s.lessons <- lesson{t, slices.Clone(items[:min(len(items), batch.MaxLearned)])}:
	default:
	}
}

func (t *table) learn(items []batch.Item, logger *slog.Logger) {
	before := t.order.Load()
	if o := before.Learn(items); o != before {
		t.order.Store(o)
		logger.Debug("records are sorted by other labels from now on, so that calls share more", "database", t.destination.Database, "table", t.destination.Table, "labels", o.String())
	}
}

// memory is what a request needs and the next one can use again.
type memory struct {
	items, left []batch.Item
	sorter      batch.Sorter
}

// maxPooledItems is the largest slice of items that is kept for the next request.
const maxPooledItems = 100_000

func (s *Store) release(m *memory) {
	if cap(m.items) > maxPooledItems || cap(m.left) > maxPooledItems {
		return
	}
	clear(m.items) // they keep series alive that may leave the cache
	clear(m.left)
	s.memory.Put(m)
}

// postpone puts a failure into the account.
func postpone(d Destination, f *send.Failure, a *ledger.Account) {
	text := f.Text
	if f.Cause == send.TableMissing {
		text = fmt.Sprintf("table %s does not exist; create it, or name another with --default-database and --default-table (%s)", d, f.Text)
	}
	a.Defer(ledger.Deferral{Cause: string(f.Cause), Text: text, Detail: f.Detail, RetryAfter: time.Second + rand.N(4*time.Second)})
}

func (s *Store) encodeSeries(t *table, ls []labels.Label, hash series.Hash, generation uint64, cols promschema.Columns) (*batch.Series, error) {
	s.encoded.Inc()
	enc, err := promschema.EncodeSeries(ls, cols, s.cfg.Limits)
	if err != nil {
		return nil, err
	}
	return batch.NewSeries(ls, hash, t.id, generation, enc), nil
}
