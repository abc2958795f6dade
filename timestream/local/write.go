// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/internal/record"
	"github.com/tributary-project/tributary/timestream/metering"
)

// writeScratch is the memory of one WriteRecords request, used again for the next.
type writeScratch struct {
	prep preparer
	job  writeJob
}

// WriteRecords stores records (API reference, WriteRecords). When it returns nil, all of them are on disk; when the error is a
// RejectedRecordsException, all but those it lists are. A ThrottlingException means that the queue of the writer is full.
// The context is heeded until the request is queued: after that its fate is decided within one transaction or two, and
// the answer tells it.
func (db *DB) WriteRecords(ctx context.Context, in *timestreamwrite.WriteRecordsInput, _ ...WriteOption) (*timestreamwrite.WriteRecordsOutput, error) {
	ingested, err := db.Write(ctx, record.FromSDK(in))
	if err != nil {
		return nil, err
	}
	return &timestreamwrite.WriteRecordsOutput{RecordsIngested: &ingested}, nil
}

// NewRequest returns an empty request for record.Decode and Write; FreeRequest takes it back.
func (db *DB) NewRequest() *record.Request { return db.reqs.Get() }

// FreeRequest takes a request back. Nothing that came from it may be used any more.
func (db *DB) FreeRequest(r *record.Request) { db.reqs.Put(r) }

// Write is WriteRecords for package wire. The request may be freed when it has returned.
func (db *DB) Write(ctx context.Context, req *record.Request) (wtypes.RecordsIngested, error) {
	w, err := db.write(ctx, req)
	return w.ingested, err
}

// written is what became of a request.
type written struct {
	// ingested is what WriteRecords answers; it is empty when records were rejected.
	ingested wtypes.RecordsIngested
	// records and bytes are those that were accepted, also beside others that were not; the bytes are metered, in whole write units.
	records, bytes int64
}

// write is Write.
func (db *DB) write(ctx context.Context, req *record.Request) (written, error) {
	if err := db.allowWrite("WriteRecords"); err != nil {
		return written{}, err
	}
	if err := checkShape(req); err != nil {
		return written{}, err
	}
	t, err := db.namedTable(&req.Database, &req.Table)
	if err != nil {
		return written{}, err
	}
	s := db.jobs.Get().(*writeScratch)
	defer func() {
		s.release()
		db.jobs.Put(s)
	}()
	props, now := t.props.Load(), db.now()
	s.prep.limits, s.prep.key = db.cfg.Limits, props.requiredKey()
	s.prep.window = db.window(props, now)
	if err := s.prep.prepare(req); err != nil {
		return written{}, err
	}
	if err := db.quotas.magnetic(t, s.prep.recs, db.now()); err != nil {
		return written{}, err
	}
	if err := ctx.Err(); err != nil {
		return written{}, err
	}
	j := &s.job
	j.reset()
	j.table, j.recs, j.sent, j.done = t, s.prep.recs, s.prep.sent, make(chan struct{})
	j.memoryFrom, j.magneticFrom = db.visibleFrom(now, req.Hide)
	queued, err := db.writer.offer(j)
	if err != nil {
		return written{}, writeInternal()
	}
	if !queued {
		db.metrics.throttled.Inc()
		return written{}, writeThrottled()
	}
	<-j.done
	db.metrics.records(&j.counts)
	if j.err != nil {
		return written{}, j.err
	}
	sent, accepted := j.accepted()
	w := written{records: int64(accepted)}
	if accepted > 0 {
		w.bytes = metering.Units(sent.Bytes(db.cfg.Cost.Rule)) * metering.WriteUnit
	}
	if len(j.rejected) > 0 {
		// Those that had to be looked up were decided last.
		slices.SortFunc(j.rejected, func(a, b wtypes.RejectedRecord) int { return int(a.RecordIndex - b.RecordIndex) })
		return w, &wtypes.RejectedRecordsException{Message: text(textRejected), RejectedRecords: j.rejected}
	}
	w.ingested = wtypes.RecordsIngested{
		Total: int32(j.memory + j.magnetic), MemoryStore: int32(j.memory), MagneticStore: int32(j.magnetic),
	}
	return w, nil
}

// release drops what points into the request.
func (s *writeScratch) release() {
	clear(s.prep.recs)
	clear(s.prep.values)
	s.prep.common, s.prep.key = nil, nil
	s.job = writeJob{}
}
