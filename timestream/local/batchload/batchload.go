// SPDX-License-Identifier: Apache-2.0

// Package batchload writes the rows of CSV files in a bucket to tables, as WriteRecords would (Developer Guide, batch-load; API reference,
// CreateBatchLoadTask and the operations beside it). A task is kept with how far it has come: one that ran when the process ended goes on at the
// next start, of which its caller sees nothing. PROGRESS_STOPPED is what only an operator can mend, such as a full disk.
//
// It leaves to others to tell who may call the operations, to keep the tasks on disk, and to store the records.
package batchload

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/bucket"
	"github.com/tributary-project/tributary/timestream/local/internal/listing"
	"github.com/tributary-project/tributary/timestream/local/internal/shape"
	"github.com/tributary-project/tributary/timestream/local/internal/storing"
	"github.com/tributary-project/tributary/timestream/local/mapping"
)

// Limits of batch load (Developer Guide, ts-limits). That GB and MB are powers of two is our reading.
const (
	maxFiles     = 100
	maxFileBytes = 5 << 30
	maxBytes     = 100 << 30
	maxRowBytes  = 16 << 20
	// maxColumns bounds the columns of a file, which are in memory. It is ours.
	maxColumns       = 100_000
	maxActiveOfTable = 5
	maxActive        = 10
	// maxDataModelBytes bounds a data model in a bucket, and a request with all that is in it. It is ours.
	maxDataModelBytes = 1 << 20
	// maxKept is how many tasks are remembered, maxKeptBytes how large what they were created as may be together; the oldest that are done are
	// forgotten first. The service names no limits.
	maxKept      = 1000
	maxKeptBytes = 64 << 20
	// resumable is how long a task that stopped can be resumed. The service tells it with the task; how long it is nobody has said.
	resumable = 7 * 24 * time.Hour
)

// spec is what a task was created as.
type spec struct {
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

// state is how far a task has come.
type state struct {
	Status         wtypes.BatchLoadStatus
	Updated        time.Time
	ResumableUntil *time.Time `json:",omitempty"`
	Message        string     `json:",omitempty"`
	Progress       wtypes.BatchLoadProgressReport
	// File is the key of the file in hand, Offset where its next row begins, and Line that row's number. Files come by their keys.
	File         string   `json:",omitempty"`
	Offset, Line int64    `json:",omitempty"`
	Errors       failures `json:",omitzero"`
}

// task is a task. Its state is guarded by Tasks.mu; only who runs it changes it.
type task struct {
	Spec    spec
	State   state
	running bool
	// size is that of Spec, in bytes of JSON.
	size int
}

// weigh sets the size.
func (t *task) weigh() error {
	b, err := json.Marshal(t.Spec)
	t.size = len(b)
	return err
}

// active tells that a task counts among those that there may be few of.
func (t *task) active() bool {
	switch t.State.Status {
	case wtypes.BatchLoadStatusCreated, wtypes.BatchLoadStatusInProgress, wtypes.BatchLoadStatusPendingResume:
		return true
	}
	return false
}

// Store is what tasks need of the database.
type Store interface {
	storing.Target
	// Table tells whether there is a table; if not, its error is the answer to a request that names it.
	Table(database, name string) error
	// KeepTasks runs change, one at a time, keeps the texts that it returns by their ids, forgets the ids with an empty one, and when that is on disk calls
	// applied. An error of change is returned as it is, and nothing is kept or called.
	KeepTasks(ctx context.Context, change func() (kept map[string]string, err error), applied func()) error
}

// Config is what Tasks are made of.
type Config struct {
	Store   Store
	Buckets *bucket.Store
	Now     func() time.Time
	Logger  *slog.Logger
	// SaveEvery is how often the place in the file of a task that runs is written down, as in SaveEvery; 0 is after each batch of rows.
	SaveEvery time.Duration
}

// Tasks are all tasks. Its methods may be called by many goroutines at once.
type Tasks struct {
	cfg  Config
	wake chan struct{}

	mu    sync.Mutex
	tasks map[string]*task
}

// New takes over the tasks that are kept, texts by their ids.
func New(c Config, kept map[string]string) (*Tasks, error) {
	l := &Tasks{cfg: c, wake: make(chan struct{}, atOnce), tasks: map[string]*task{}}
	for id, v := range kept {
		t := &task{}
		if err := json.Unmarshal([]byte(v), t); err != nil {
			return nil, fmt.Errorf("batch load task %s: %w", id, err)
		}
		if err := t.weigh(); err != nil {
			return nil, fmt.Errorf("batch load task %s: %w", id, err)
		}
		l.tasks[id] = t
	}
	return l, nil
}

// Create creates a task that writes the rows of CSV files to a table (API reference, CreateBatchLoadTask). What is wrong with the
// request, its buckets and its data model is told at once; what is wrong with files and rows is in the task's report.
func (l *Tasks) Create(ctx context.Context, in *timestreamwrite.CreateBatchLoadTaskInput) (*timestreamwrite.CreateBatchLoadTaskOutput, error) {
	if err := checkCreate(in); err != nil {
		return nil, err
	}
	request := *in
	request.ClientToken = nil
	fingerprint, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	if len(fingerprint) > maxDataModelBytes {
		return nil, invalid("The request has %d bytes. A batch load task has at most %d.", len(fingerprint), maxDataModelBytes)
	}
	if id, err := l.repeated(aws.ToString(in.ClientToken), fingerprint); id != "" || err != nil {
		return created(id, err)
	}
	if err := l.cfg.Store.Table(*in.TargetDatabaseName, *in.TargetTableName); err != nil {
		return nil, err
	}
	if err := l.checkBuckets(in); err != nil {
		return nil, err
	}
	model, err := l.dataModel(in.DataModelConfiguration)
	if err != nil {
		return nil, err
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) //nolint:errcheck // it never fails
	now := l.cfg.Now()
	t := &task{
		Spec: spec{
			ID: strings.ToUpper(hex.EncodeToString(id[:])), Database: *in.TargetDatabaseName, Table: *in.TargetTableName,
			Source: *in.DataSourceConfiguration, Report: *in.ReportConfiguration, ModelGiven: *in.DataModelConfiguration, Model: *model,
			RecordVersion: 1, Created: now, Token: aws.ToString(in.ClientToken), Request: fingerprint,
		},
		State: state{Status: wtypes.BatchLoadStatusCreated, Updated: now},
	}
	if in.RecordVersion != nil {
		t.Spec.RecordVersion = *in.RecordVersion
	}
	if err := t.weigh(); err != nil {
		return nil, err
	}
	return created(l.add(ctx, t))
}

// kept is what is kept of a task.
func (t *task) kept() (map[string]string, error) {
	b, err := json.Marshal(t)
	return map[string]string{t.Spec.ID: string(b)}, err
}

func created(id string, err error) (*timestreamwrite.CreateBatchLoadTaskOutput, error) {
	if err != nil {
		return nil, err
	}
	return &timestreamwrite.CreateBatchLoadTaskOutput{TaskId: &id}, nil
}

// add keeps a new task, unless there are too many, or one with its token by now, whose id is then returned.
func (l *Tasks) add(ctx context.Context, t *task) (id string, err error) {
	var forget []string
	err = l.cfg.Store.KeepTasks(ctx, func() (map[string]string, error) {
		if id, err = l.repeated(t.Spec.Token, t.Spec.Request); id != "" || err != nil {
			return nil, err
		}
		id = t.Spec.ID
		if forget, err = l.room(t); err != nil {
			return nil, err
		}
		kept, err := t.kept()
		for _, old := range forget {
			kept[old] = ""
		}
		return kept, err
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
func (l *Tasks) room(t *task) (forget []string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	active, ofTable, bytes := 0, 0, t.size
	var done []*task
	for _, o := range l.tasks {
		bytes += o.size
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
	case ofTable >= maxActiveOfTable:
		return nil, &wtypes.ThrottlingException{Message: text("The table %s has the maximum of %d active batch load tasks.", t.Spec.Table, maxActiveOfTable)}
	case active >= maxActive:
		return nil, &wtypes.ThrottlingException{Message: text("The account has the maximum of %d active batch load tasks.", maxActive)}
	}
	slices.SortFunc(done, func(a, b *task) int { return a.State.Updated.Compare(b.State.Updated) })
	for _, o := range done {
		if len(l.tasks)-len(forget) < maxKept && bytes <= maxKeptBytes {
			break
		}
		forget = append(forget, o.Spec.ID)
		bytes -= o.size
	}
	return forget, nil
}

// repeated finds the task that was created with a token; with another request it is a conflict.
func (l *Tasks) repeated(token string, request []byte) (id string, err error) {
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

// checkBuckets tells when a bucket of a request is not there.
func (l *Tasks) checkBuckets(in *timestreamwrite.CreateBatchLoadTaskInput) error {
	for _, b := range []*string{in.DataSourceConfiguration.DataSourceS3Configuration.BucketName, in.ReportConfiguration.ReportS3Configuration.BucketName} {
		if err := l.cfg.Buckets.Exists(*b); err != nil {
			return bucketError(err)
		}
	}
	return nil
}

// bucketError is the answer to a request that names what is not in a bucket. The service's class is not published.
func bucketError(err error) error {
	return invalid("%s", bucket.Refusal(err))
}

// dataModel is the data model of a request, from its bucket if it is there, and checked.
func (l *Tasks) dataModel(c *wtypes.DataModelConfiguration) (*wtypes.DataModel, error) {
	model := c.DataModel
	if s3 := c.DataModelS3Configuration; model == nil {
		b, err := l.cfg.Buckets.Read(aws.ToString(s3.BucketName), aws.ToString(s3.ObjectKey), maxDataModelBytes)
		if err != nil {
			return nil, bucketError(err)
		}
		model = &wtypes.DataModel{}
		if err := json.Unmarshal(b, model); err != nil {
			return nil, invalid("The data model s3://%s/%s cannot be read: %v", *s3.BucketName, *s3.ObjectKey, err)
		}
		var v shape.Violations
		checkDataModel(&v, model, "dataModel")
		if err := v.AsWrite(); err != nil {
			return nil, err
		}
	}
	if _, err := mapping.FromDataModel(model); err != nil {
		return nil, invalid("The data model is invalid: %v", err)
	}
	return model, nil
}

// Describe tells how far a task has come (API reference, DescribeBatchLoadTask).
func (l *Tasks) Describe(in *timestreamwrite.DescribeBatchLoadTaskInput) (*timestreamwrite.DescribeBatchLoadTaskOutput, error) {
	id, err := taskID(in.TaskId)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tasks[id]
	if t == nil {
		return nil, noTask(id)
	}
	return &timestreamwrite.DescribeBatchLoadTaskOutput{BatchLoadTaskDescription: t.describe()}, nil
}

func noTask(id string) error {
	return &wtypes.ResourceNotFoundException{Message: text("The batch load task %s does not exist.", id)}
}

func invalid(format string, args ...any) error {
	return &wtypes.ValidationException{Message: text(format, args...)}
}

func text(format string, args ...any) *string {
	s := fmt.Sprintf(format, args...)
	return &s
}

// describe renders a task; what a request may leave out is shown as it counts (Developer Guide, batch-load-using-cli).
func (t *task) describe() *wtypes.BatchLoadTaskDescription {
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
		out.ErrorMessage = aws.String(t.State.Message)
	}
	return out
}

// List lists the tasks, the newest first, at most 100 on a page (API reference, ListBatchLoadTasks).
func (l *Tasks) List(in *timestreamwrite.ListBatchLoadTasksInput) (*timestreamwrite.ListBatchLoadTasksOutput, error) {
	var v shape.Violations
	shape.Number(&v, in.MaxResults, 1, maxListed, "maxResults")
	shape.Enum(&v, in.TaskStatus, "taskStatus", in.TaskStatus.Values()...)
	if err := v.AsWrite(); err != nil {
		return nil, err
	}
	n := maxListed
	if in.MaxResults != nil {
		n = int(*in.MaxResults)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	byPlace := map[string]*task{}
	for id, t := range l.tasks {
		if in.TaskStatus == "" || t.State.Status == in.TaskStatus {
			byPlace[fmt.Sprintf("%016x/%s", ^uint64(t.Spec.Created.UnixNano()), id)] = t
		}
	}
	places, next, err := listing.Page(slices.Sorted(maps.Keys(byPlace)), in.NextToken, n)
	if err != nil {
		return nil, invalid("%v", err)
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

// Resume lets a task go on that stopped (API reference, ResumeBatchLoadTask). One in another state is a ValidationException, in
// words of ours.
func (l *Tasks) Resume(ctx context.Context, in *timestreamwrite.ResumeBatchLoadTaskInput) (*timestreamwrite.ResumeBatchLoadTaskOutput, error) {
	id, err := taskID(in.TaskId)
	if err != nil {
		return nil, err
	}
	now := l.cfg.Now()
	err = l.update(ctx, id, func(t *task) error {
		switch {
		case t.State.Status != wtypes.BatchLoadStatusProgressStopped:
			return invalid("The batch load task %s cannot be resumed: its status is %s, not %s.", id, t.State.Status, wtypes.BatchLoadStatusProgressStopped)
		case t.State.ResumableUntil != nil && now.After(*t.State.ResumableUntil):
			return invalid("The batch load task %s cannot be resumed: it could be until %s.", id, t.State.ResumableUntil.UTC().Format(time.RFC3339))
		}
		if _, err := l.room(t); err != nil {
			return err
		}
		t.State.Status, t.State.Updated, t.State.Message, t.State.ResumableUntil = wtypes.BatchLoadStatusPendingResume, now, "", nil
		return nil
	})
	if err != nil {
		return nil, err
	}
	l.awake()
	return &timestreamwrite.ResumeBatchLoadTaskOutput{}, nil
}

// update changes a copy of a task, keeps it, and only then shows it.
func (l *Tasks) update(ctx context.Context, id string, change func(*task) error) error {
	var next task
	return l.cfg.Store.KeepTasks(ctx, func() (map[string]string, error) {
		l.mu.Lock()
		t := l.tasks[id]
		if t != nil {
			next = *t
		}
		l.mu.Unlock()
		if t == nil {
			return nil, noTask(id)
		}
		if err := change(&next); err != nil {
			return nil, err
		}
		return next.kept()
	}, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if t := l.tasks[id]; t != nil {
			t.State = next.State
		}
	})
}

// awake tells those who run tasks that there is one.
func (l *Tasks) awake() {
	select {
	case l.wake <- struct{}{}:
	default: // they will look anyway
	}
}

// isStopped tells whether an error is one that the same task can go on after: what is wrong is here, and not with its files or its table.
func isStopped(err error) bool {
	var missing *wtypes.ResourceNotFoundException
	var denied *wtypes.AccessDeniedException
	return !errors.As(err, &missing) && !errors.As(err, &denied) && !errors.Is(err, bucket.ErrNoBucket) && !errors.Is(err, errTask)
}
