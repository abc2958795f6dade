// SPDX-License-Identifier: Apache-2.0

package local

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/bucket"
	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/shape"
	"github.com/tributary-project/tributary/timestream/local/mapping"
)

// Batch load (Developer Guide, batch-load; API reference, CreateBatchLoadTask and the operations beside it) writes the rows of CSV files in a
// bucket as WriteRecords would. A task is kept on disk with how far it has come: one that ran when the process ended goes on at the next
// start, of which its caller sees nothing. PROGRESS_STOPPED is what only an operator can mend, such as a full disk.

// Limits of batch load (Developer Guide, ts-limits). That GB and MB are powers of two is our reading.
const (
	maxLoadFiles        = 100
	maxLoadFileBytes    = 5 << 30
	maxLoadBytes        = 100 << 30
	maxLoadRowBytes     = 16 << 20
	maxActiveTableLoads = 5
	maxActiveLoads      = 10
	// maxDataModelBytes bounds a data model in a bucket. It is ours.
	maxDataModelBytes = 1 << 20
	// maxKeptLoads is how many tasks are remembered; the oldest that are done are forgotten first. The service names no limit.
	maxKeptLoads = 1000
	// loadResumable is how long a task that stopped can be resumed. The service tells it with the task; how long it is nobody has said.
	loadResumable = 7 * 24 * time.Hour
	// loadKey begins the rows of cat_meta that hold tasks.
	loadKey = "batch-load/"
)

// batchSpec is what a task was created as.
type batchSpec struct {
	ID            string
	Database      string
	Table         string
	Source        wtypes.DataSourceConfiguration
	Report        wtypes.ReportConfiguration
	ModelGiven    wtypes.DataModelConfiguration
	Model         wtypes.DataModel
	RecordVersion int64
	Created       time.Time
	// Token is the request's ClientToken, Request all of the request.
	Token   string          `json:",omitempty"`
	Request json.RawMessage `json:",omitempty"`
}

// batchState is how far a task has come.
type batchState struct {
	Status         wtypes.BatchLoadStatus
	Updated        time.Time
	ResumableUntil *time.Time `json:",omitempty"`
	Message        string     `json:",omitempty"`
	Progress       wtypes.BatchLoadProgressReport
	// File is the key of the file in hand, Offset where its next row begins, and Line that row's number. Files come by their keys.
	File         string      `json:",omitempty"`
	Offset, Line int64       `json:",omitempty"`
	Errors       batchErrors `json:",omitzero"`
}

// batchLoad is a task. Its state is guarded by batchLoads.mu; only who runs it changes it.
type batchLoad struct {
	Spec    batchSpec
	State   batchState
	running bool
}

// active tells that a task counts among those that there may be few of.
func (t *batchLoad) active() bool {
	switch t.State.Status {
	case wtypes.BatchLoadStatusCreated, wtypes.BatchLoadStatusInProgress, wtypes.BatchLoadStatusPendingResume:
		return true
	}
	return false
}

// batchLoads are all tasks.
type batchLoads struct {
	db   *DB
	wake chan struct{}
	// saveEvery is loadSaveEvery, but for tests.
	saveEvery time.Duration

	mu    sync.Mutex
	tasks map[string]*batchLoad
}

func newBatchLoads(db *DB) *batchLoads {
	return &batchLoads{db: db, wake: make(chan struct{}, loadsAtOnce), saveEvery: loadSaveEvery, tasks: map[string]*batchLoad{}}
}

// load takes over the tasks among the rows of cat_meta.
func (l *batchLoads) load(meta map[string]string) error {
	for k, v := range meta {
		if !strings.HasPrefix(k, loadKey) {
			continue
		}
		t := &batchLoad{}
		if err := json.Unmarshal([]byte(v), t); err != nil {
			return fmt.Errorf("batch load task %s: %w", strings.TrimPrefix(k, loadKey), err)
		}
		l.tasks[t.Spec.ID] = t
	}
	return nil
}

// insert and remove are the SQL that keeps a task and forgets it.
func (t *batchLoad) insert() (string, error) {
	b, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	return t.remove() + fmt.Sprintf("INSERT INTO cat_meta VALUES (%s, %s);", literal(loadKey+t.Spec.ID), literal(string(b))), nil
}

func (t *batchLoad) remove() string {
	return "DELETE FROM cat_meta WHERE k = " + literal(loadKey+t.Spec.ID) + ";"
}

// CreateBatchLoadTask creates a task that writes the rows of CSV files to a table (API reference, CreateBatchLoadTask). What is wrong with the
// request, its buckets and its data model is told at once; what is wrong with files and rows is in the task's report.
func (db *DB) CreateBatchLoadTask(ctx context.Context, in *timestreamwrite.CreateBatchLoadTaskInput, _ ...WriteOption) (*timestreamwrite.CreateBatchLoadTaskOutput, error) {
	if err := db.allowWrite("CreateBatchLoadTask"); err != nil {
		return nil, err
	}
	if err := checkBatchLoad(in); err != nil {
		return nil, err
	}
	request := *in
	request.ClientToken = nil
	fingerprint, err := json.Marshal(request)
	if err != nil {
		return nil, writeFailed(err)
	}
	if id, err := db.loads.repeated(str(in.ClientToken), fingerprint); id != "" || err != nil {
		return batchLoadID(id, err)
	}
	if _, err := db.namedTable(in.TargetDatabaseName, in.TargetTableName); err != nil {
		return nil, err
	}
	if err := db.checkLoadBuckets(in); err != nil {
		return nil, err
	}
	model, err := db.dataModel(in.DataModelConfiguration)
	if err != nil {
		return nil, err
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) //nolint:errcheck // it never fails
	now := db.now()
	t := &batchLoad{
		Spec: batchSpec{
			ID: strings.ToUpper(hex.EncodeToString(id[:])), Database: *in.TargetDatabaseName, Table: *in.TargetTableName,
			Source: *in.DataSourceConfiguration, Report: *in.ReportConfiguration, ModelGiven: *in.DataModelConfiguration, Model: *model,
			RecordVersion: 1, Created: now, Token: str(in.ClientToken), Request: fingerprint,
		},
		State: batchState{Status: wtypes.BatchLoadStatusCreated, Updated: now},
	}
	if in.RecordVersion != nil {
		t.Spec.RecordVersion = *in.RecordVersion
	}
	return batchLoadID(db.loads.add(ctx, t))
}

func batchLoadID(id string, err error) (*timestreamwrite.CreateBatchLoadTaskOutput, error) {
	if err != nil {
		return nil, err
	}
	return &timestreamwrite.CreateBatchLoadTaskOutput{TaskId: &id}, nil
}

// add keeps a new task, unless there are too many, or one with its token by now, whose id is then returned.
func (l *batchLoads) add(ctx context.Context, t *batchLoad) (id string, err error) {
	var forget []string
	err = l.db.change(ctx, func(c *duck.Conn) error {
		if id, err = l.repeated(t.Spec.Token, t.Spec.Request); id != "" || err != nil {
			return err
		}
		id = t.Spec.ID
		if forget, err = l.room(t); err != nil {
			return err
		}
		sql, err := t.insert()
		if err != nil {
			return err
		}
		for _, old := range forget {
			sql += (&batchLoad{Spec: batchSpec{ID: old}}).remove()
		}
		return c.Exec(sql)
	}, func() {
		if id != t.Spec.ID {
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, old := range forget {
			delete(l.tasks, old)
		}
		l.tasks[id] = t
	})
	if err != nil {
		return "", err
	}
	l.awake()
	return id, nil
}

// room tells whether there may be one more active task, and which tasks are forgotten for it. The guide says that new tasks are throttled when
// there are too many (batch-load-prerequisites).
func (l *batchLoads) room(t *batchLoad) (forget []string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	active, ofTable := 0, 0
	var done []*batchLoad
	for _, o := range l.tasks {
		switch {
		case !o.active():
			done = append(done, o)
		case o.Spec.Database == t.Spec.Database && o.Spec.Table == t.Spec.Table:
			ofTable++
			fallthrough
		default:
			active++
		}
	}
	switch {
	case ofTable >= maxActiveTableLoads:
		return nil, &wtypes.ThrottlingException{Message: text("The table %s has the maximum of %d active batch load tasks.", t.Spec.Table, maxActiveTableLoads)}
	case active >= maxActiveLoads:
		return nil, &wtypes.ThrottlingException{Message: text("The account has the maximum of %d active batch load tasks.", maxActiveLoads)}
	}
	if len(l.tasks) >= maxKeptLoads {
		slices.SortFunc(done, func(a, b *batchLoad) int { return a.State.Updated.Compare(b.State.Updated) })
		for _, o := range done[:min(len(done), len(l.tasks)-maxKeptLoads+1)] {
			forget = append(forget, o.Spec.ID)
		}
	}
	return forget, nil
}

// repeated finds the task that was created with a token; with another request it is a conflict.
func (l *batchLoads) repeated(token string, request []byte) (id string, err error) {
	if token == "" {
		return "", nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.tasks {
		if t.Spec.Token != token {
			continue
		}
		if string(t.Spec.Request) != string(request) {
			return "", &wtypes.ConflictException{Message: text("The ClientToken was used before with other parameters.")}
		}
		return t.Spec.ID, nil
	}
	return "", nil
}

// checkLoadBuckets tells when a bucket of a request is not there.
func (db *DB) checkLoadBuckets(in *timestreamwrite.CreateBatchLoadTaskInput) error {
	for _, b := range []*string{in.DataSourceConfiguration.DataSourceS3Configuration.BucketName, in.ReportConfiguration.ReportS3Configuration.BucketName} {
		if err := db.buckets.Exists(*b); err != nil {
			return bucketError(err)
		}
	}
	return nil
}

// bucketError is the answer to a request that names what is not in a bucket. The service's class and text are not published.
func bucketError(err error) error {
	return writeInvalid("Unable to access S3: %v", err)
}

// dataModel is the data model of a request, from its bucket if it is there, and checked.
func (db *DB) dataModel(c *wtypes.DataModelConfiguration) (*wtypes.DataModel, error) {
	model := c.DataModel
	if s3 := c.DataModelS3Configuration; model == nil {
		b, err := db.buckets.Read(str(s3.BucketName), str(s3.ObjectKey), maxDataModelBytes)
		if err != nil {
			return nil, bucketError(err)
		}
		model = &wtypes.DataModel{}
		if err := json.Unmarshal(b, model); err != nil {
			return nil, writeInvalid("The data model s3://%s/%s cannot be read: %v", *s3.BucketName, *s3.ObjectKey, err)
		}
		var v shape.Violations
		checkDataModel(&v, model, "dataModel")
		if err := v.AsWrite(); err != nil {
			return nil, err
		}
	}
	if _, err := mapping.FromDataModel(model); err != nil {
		return nil, writeInvalid("The data model is invalid: %v", err)
	}
	return model, nil
}

// DescribeBatchLoadTask tells how far a task has come (API reference, DescribeBatchLoadTask).
func (db *DB) DescribeBatchLoadTask(_ context.Context, in *timestreamwrite.DescribeBatchLoadTaskInput, _ ...WriteOption) (*timestreamwrite.DescribeBatchLoadTaskOutput, error) {
	if err := db.allowWrite("DescribeBatchLoadTask"); err != nil {
		return nil, err
	}
	id, err := batchLoadTask(in.TaskId)
	if err != nil {
		return nil, err
	}
	db.loads.mu.Lock()
	defer db.loads.mu.Unlock()
	t := db.loads.tasks[id]
	if t == nil {
		return nil, noBatchLoad(id)
	}
	return &timestreamwrite.DescribeBatchLoadTaskOutput{BatchLoadTaskDescription: t.describe()}, nil
}

func noBatchLoad(id string) error { return notFound("The batch load task %s does not exist.", id) }

// describe renders a task; what a request may leave out is shown as it counts (Developer Guide, batch-load-using-cli).
func (t *batchLoad) describe() *wtypes.BatchLoadTaskDescription {
	source, model := t.Spec.Source, t.Spec.ModelGiven
	if source.CsvConfiguration == nil {
		source.CsvConfiguration = &wtypes.CsvConfiguration{}
	}
	if m := model.DataModel; m != nil {
		filled := *m
		filled.TimeUnit = cmp.Or(m.TimeUnit, wtypes.TimeUnitMilliseconds)
		filled.DimensionMappings = slices.Clone(m.DimensionMappings)
		for i := range filled.DimensionMappings {
			if d := &filled.DimensionMappings[i]; d.DestinationColumn == nil {
				d.DestinationColumn = d.SourceColumn
			}
		}
		if mm := m.MultiMeasureMappings; mm != nil {
			filled.MultiMeasureMappings = &wtypes.MultiMeasureMappings{TargetMultiMeasureName: mm.TargetMultiMeasureName, MultiMeasureAttributeMappings: slices.Clone(mm.MultiMeasureAttributeMappings)}
			for i := range mm.MultiMeasureAttributeMappings {
				if a := &filled.MultiMeasureMappings.MultiMeasureAttributeMappings[i]; a.TargetMultiMeasureAttributeName == nil {
					a.TargetMultiMeasureAttributeName = a.SourceColumn
				}
			}
		}
		model.DataModel = &filled
	}
	id, database, table, created, updated, progress := t.Spec.ID, t.Spec.Database, t.Spec.Table, t.Spec.Created, t.State.Updated, t.State.Progress
	out := &wtypes.BatchLoadTaskDescription{
		TaskId: &id, TaskStatus: t.State.Status, TargetDatabaseName: &database, TargetTableName: &table, CreationTime: &created, LastUpdatedTime: &updated,
		DataSourceConfiguration: &source, DataModelConfiguration: &model, ReportConfiguration: &t.Spec.Report, RecordVersion: t.Spec.RecordVersion,
		ProgressReport: &progress, ResumableUntil: t.State.ResumableUntil,
	}
	if t.State.Message != "" {
		out.ErrorMessage = text("%s", t.State.Message)
	}
	return out
}

// ListBatchLoadTasks lists the tasks, the newest first, at most 100 on a page (API reference, ListBatchLoadTasks).
func (db *DB) ListBatchLoadTasks(_ context.Context, in *timestreamwrite.ListBatchLoadTasksInput, _ ...WriteOption) (*timestreamwrite.ListBatchLoadTasksOutput, error) {
	if err := db.allowWrite("ListBatchLoadTasks"); err != nil {
		return nil, err
	}
	var v shape.Violations
	shape.Number(&v, in.MaxResults, 1, maxListLoads, "maxResults")
	shape.Enum(&v, in.TaskStatus, "taskStatus", in.TaskStatus.Values()...)
	if err := v.AsWrite(); err != nil {
		return nil, err
	}
	n := maxListLoads
	if in.MaxResults != nil {
		n = int(*in.MaxResults)
	}
	db.loads.mu.Lock()
	defer db.loads.mu.Unlock()
	byPlace := map[string]*batchLoad{}
	for id, t := range db.loads.tasks {
		if in.TaskStatus == "" || t.State.Status == in.TaskStatus {
			byPlace[fmt.Sprintf("%016x/%s", ^uint64(t.Spec.Created.UnixNano()), id)] = t
		}
	}
	places, next, err := page(slices.Sorted(maps.Keys(byPlace)), in.NextToken, n)
	if err != nil {
		return nil, err
	}
	out := &timestreamwrite.ListBatchLoadTasksOutput{NextToken: next, BatchLoadTasks: []wtypes.BatchLoadTask{}}
	for _, p := range places {
		d := byPlace[p].describe()
		out.BatchLoadTasks = append(out.BatchLoadTasks, wtypes.BatchLoadTask{
			TaskId: d.TaskId, TaskStatus: d.TaskStatus, DatabaseName: d.TargetDatabaseName, TableName: d.TargetTableName,
			CreationTime: d.CreationTime, LastUpdatedTime: d.LastUpdatedTime, ResumableUntil: d.ResumableUntil,
		})
	}
	return out, nil
}

// ResumeBatchLoadTask lets a task go on that stopped (API reference, ResumeBatchLoadTask). One in another state is a ValidationException, in
// words of ours.
func (db *DB) ResumeBatchLoadTask(ctx context.Context, in *timestreamwrite.ResumeBatchLoadTaskInput, _ ...WriteOption) (*timestreamwrite.ResumeBatchLoadTaskOutput, error) {
	if err := db.allowWrite("ResumeBatchLoadTask"); err != nil {
		return nil, err
	}
	id, err := batchLoadTask(in.TaskId)
	if err != nil {
		return nil, err
	}
	now := db.now()
	err = db.loads.update(ctx, id, func(t *batchLoad) error {
		switch {
		case t.State.Status != wtypes.BatchLoadStatusProgressStopped:
			return writeInvalid("The batch load task %s cannot be resumed: its status is %s, not %s.", id, t.State.Status, wtypes.BatchLoadStatusProgressStopped)
		case t.State.ResumableUntil != nil && now.After(*t.State.ResumableUntil):
			return writeInvalid("The batch load task %s cannot be resumed: it could be until %s.", id, t.State.ResumableUntil.UTC().Format(time.RFC3339))
		}
		if _, err := db.loads.room(t); err != nil {
			return err
		}
		t.State.Status, t.State.Updated, t.State.Message, t.State.ResumableUntil = wtypes.BatchLoadStatusPendingResume, now, "", nil
		return nil
	})
	if err != nil {
		return nil, err
	}
	db.loads.awake()
	return &timestreamwrite.ResumeBatchLoadTaskOutput{}, nil
}

// update changes a copy of a task, keeps it, and only then shows it.
func (l *batchLoads) update(ctx context.Context, id string, change func(*batchLoad) error) error {
	var next batchLoad
	return l.db.change(ctx, func(c *duck.Conn) error {
		l.mu.Lock()
		t := l.tasks[id]
		if t != nil {
			next = *t
		}
		l.mu.Unlock()
		if t == nil {
			return noBatchLoad(id)
		}
		if err := change(&next); err != nil {
			return err
		}
		sql, err := next.insert()
		if err != nil {
			return err
		}
		return c.Exec(sql)
	}, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if t := l.tasks[id]; t != nil {
			t.State = next.State
		}
	})
}

// awake tells those who run tasks that there is one.
func (l *batchLoads) awake() {
	select {
	case l.wake <- struct{}{}:
	default: // they will look anyway
	}
}

// isStopped tells whether an error is one that the same task can go on after: what is wrong is here, and not with its files or its table.
func isStopped(err error) bool {
	var missing *wtypes.ResourceNotFoundException
	var denied *wtypes.AccessDeniedException
	return !errors.As(err, &missing) && !errors.As(err, &denied) && !errors.Is(err, bucket.ErrNoBucket) && !errors.Is(err, errLoad)
}
