// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"time"

	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/local/internal/record"
)

// storing writes records that the database has itself made of other data, through all that WriteRecords checks and counts. What is wrong
// with one of them costs no other.
type storing struct {
	db              *DB
	database, table string
	// version is that of all records, 0 for the least.
	version int64
	// refused is called for each record that is not stored.
	refused func(r *record.Record, reason string)
	// invalid is called in its place, unless it is nil, for a record that would be refused in any table and at any time.
	invalid func(r *record.Record, reason string)
	// records and bytes are those that were accepted so far; the bytes are metered, in whole write units.
	records, bytes int64
}

const (
	// storeRetry is how long a request that was throttled is tried again, storeWait how long at first between two tries.
	storeRetry = time.Minute
	storeWait  = 10 * time.Millisecond
)

// write stores records, as many in a request as it may have. An error means that the rest of them cannot be stored either.
func (s *storing) write(ctx context.Context, records []record.Record) error {
	for len(records) > 0 {
		n := min(len(records), timestream.MaxRecordsPerWrite)
		if err := s.request(ctx, records[:n]); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

// request stores records as one request. One that is invalid as a whole is cut in two until it is known which of its records is the reason.
func (s *storing) request(ctx context.Context, records []record.Record) error {
	w, err := s.try(ctx, records)
	s.records += w.records
	s.bytes += w.bytes
	var rejected *wtypes.RejectedRecordsException
	var invalid *wtypes.ValidationException
	switch {
	case errors.As(err, &rejected):
		for i := range rejected.RejectedRecords {
			r := &rejected.RejectedRecords[i]
			s.refused(&records[r.RecordIndex], str(r.Reason))
		}
		return nil
	case !errors.As(err, &invalid):
		return err
	case len(records) == 1 && s.invalid != nil:
		s.invalid(&records[0], str(invalid.Message))
		return nil
	case len(records) == 1:
		s.refused(&records[0], str(invalid.Message))
		return nil
	}
	half := len(records) / 2
	if err := s.request(ctx, records[:half]); err != nil {
		return err
	}
	return s.request(ctx, records[half:])
}

// try sends one request, again and again while it is throttled.
func (s *storing) try(ctx context.Context, records []record.Record) (written, error) {
	req := record.Request{Database: s.database, Table: s.table, Records: records}
	if s.version > 0 {
		req.Common = record.Record{Version: s.version, Has: record.Version}
	}
	end := time.Now().Add(storeRetry)
	for wait := storeWait; ; wait = min(2*wait, time.Second) {
		w, err := s.db.write(ctx, &req)
		var throttled *wtypes.ThrottlingException
		if !errors.As(err, &throttled) || time.Now().After(end) {
			return w, err
		}
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return written{}, ctx.Err()
		}
	}
}
