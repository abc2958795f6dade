// SPDX-License-Identifier: Apache-2.0

// Package storing stores records that were made of other data, of the rows of files and of results, through all that WriteRecords checks and
// counts. What is wrong with one of them costs no other.
//
// It leaves to others to make the records, and to write the requests.
package storing

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/local/internal/record"
)

// Target is the part of a database that records are written to.
type Target interface {
	// Write stores the records of a request as WriteRecords does, with its errors. records and bytes are those that were accepted, also beside others
	// that were not; the bytes are metered, in whole write units.
	Write(ctx context.Context, r *record.Request) (records, bytes int64, err error)
}

// Writer writes records to one table.
type Writer struct {
	Target          Target
	Database, Table string
	// Version is that of all records, 0 for the least.
	Version int64
	// Refused is called for each record that is not stored.
	Refused func(r *record.Record, reason string)
	// Invalid is called in its place, unless it is nil, for a record that would be refused in any table and at any time.
	Invalid func(r *record.Record, reason string)
	// Records and Bytes are those that were accepted so far; the bytes are metered, in whole write units.
	Records, Bytes int64
}

const (
	// retryFor is how long a request that was throttled is tried again, firstWait how long at first between two tries.
	retryFor  = time.Minute
	firstWait = 10 * time.Millisecond
)

// Write stores records, as many in a request as it may have. An error means that the rest of them cannot be stored either.
func (w *Writer) Write(ctx context.Context, records []record.Record) error {
	for len(records) > 0 {
		n := min(len(records), timestream.MaxRecordsPerWrite)
		if err := w.request(ctx, records[:n]); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

// request stores records as one request. One that is invalid as a whole is cut in two until it is known which of its records is the reason.
func (w *Writer) request(ctx context.Context, records []record.Record) error {
	accepted, bytes, err := w.try(ctx, records)
	w.Records += accepted
	w.Bytes += bytes
	var rejected *wtypes.RejectedRecordsException
	var invalid *wtypes.ValidationException
	switch {
	case errors.As(err, &rejected):
		for i := range rejected.RejectedRecords {
			r := &rejected.RejectedRecords[i]
			w.Refused(&records[r.RecordIndex], aws.ToString(r.Reason))
		}
		return nil
	case !errors.As(err, &invalid):
		return err
	case len(records) == 1 && w.Invalid != nil:
		w.Invalid(&records[0], invalid.ErrorMessage())
		return nil
	case len(records) == 1:
		w.Refused(&records[0], invalid.ErrorMessage())
		return nil
	}
	half := len(records) / 2
	if err := w.request(ctx, records[:half]); err != nil {
		return err
	}
	return w.request(ctx, records[half:])
}

// try sends one request, again and again while it is throttled.
func (w *Writer) try(ctx context.Context, records []record.Record) (accepted, bytes int64, err error) {
	req := record.Request{Database: w.Database, Table: w.Table, Records: records}
	if w.Version > 0 {
		req.Common = record.Record{Version: w.Version, Has: record.Version}
	}
	end := time.Now().Add(retryFor)
	for wait := firstWait; ; wait = min(2*wait, time.Second) {
		accepted, bytes, err = w.Target.Write(ctx, &req)
		var throttled *wtypes.ThrottlingException
		if !errors.As(err, &throttled) || time.Now().After(end) {
			return accepted, bytes, err
		}
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return 0, 0, ctx.Err()
		}
	}
}

// Sentence is what an error says as reports have it: it begins with a capital and ends with a full stop.
func Sentence(s string) string {
	if c, n := utf8.DecodeRuneInString(s); n > 0 {
		s = string(unicode.ToUpper(c)) + s[n:]
	}
	if s == "" || strings.HasSuffix(s, ".") || strings.HasSuffix(s, "…") {
		return s
	}
	return s + "."
}
