// SPDX-License-Identifier: Apache-2.0

package scheduled

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/timestream/local/internal/record"
	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
)

// memory is a Store that plans and keeps everything, and runs nothing.
type memory struct{ kept map[string]Kept }

func (m *memory) Table(string, string) error { return nil }

func (m *memory) Plan(string, map[string]time.Time) (*sqlplan.Plan, error) {
	return &sqlplan.Plan{Action: sqlplan.ActionSelectValues}, nil
}

func (m *memory) Rows(context.Context, Statement) (Cost, error) {
	return Cost{}, errors.New("nothing is to be run")
}

func (m *memory) Insights(*sqlplan.Plan, int64, int64) (*qtypes.QueryInsightsResponse, error) {
	return nil, errors.New("nothing is to be run")
}

func (m *memory) Write(context.Context, *record.Request) (records, bytes int64, err error) {
	return 0, 0, errors.New("nothing is to be run")
}

func (m *memory) KeepQuery(_ context.Context, change func() (Kept, error), applied func()) error {
	k, err := change()
	if err != nil {
		return err
	}
	m.kept[k.ID] = k
	applied()
	return nil
}

// However many are made, their number and size are bounded.
func TestBounds(t *testing.T) {
	store := &memory{kept: map[string]Kept{}}
	s, err := New(Config{Store: store, Now: func() time.Time { return noon }, Logger: slog.New(slog.DiscardHandler), ARN: "arn:aws:timestream:us-east-1:000000000000:" + Path, Concurrent: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := &timestreamquery.CreateScheduledQueryInput{
		Name: aws.String("one"), QueryString: aws.String("SELECT 1"), ScheduleConfiguration: &qtypes.ScheduleConfiguration{ScheduleExpression: aws.String("rate(1 hour)")},
		NotificationConfiguration:      &qtypes.NotificationConfiguration{SnsConfiguration: &qtypes.SnsConfiguration{TopicArn: aws.String("topic")}},
		ScheduledQueryExecutionRoleArn: aws.String("role"),
		ErrorReportConfiguration:       &qtypes.ErrorReportConfiguration{S3Configuration: &qtypes.S3Configuration{BucketName: aws.String("reports"), ObjectKeyPrefix: aws.String("errors")}},
	}
	refused := func(want string) {
		t.Helper()
		var quota *qtypes.ServiceQuotaExceededException
		if _, err := s.Create(t.Context(), in); !errors.As(err, &quota) || !strings.Contains(*quota.Message, want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	fill := func(n, size int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		clear(s.byID)
		for i := range n {
			q := &Query{size: size}
			q.ID, q.Name = strconv.Itoa(i), strconv.Itoa(i)
			s.byID[q.ID] = q
		}
	}
	fill(10_000, 1)
	refused("The account has the maximum of 10000 scheduled queries.")
	fill(2, 32<<20)
	refused("exceeds the limit of 67108864.")
	fill(1, 32<<20)
	out, err := s.Create(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if id, ok := strings.CutPrefix(*out.Arn, s.ARN("")); !ok || len(store.kept) != 1 || store.kept[id].State == "" {
		t.Errorf("got %s, kept %+v", *out.Arn, store.kept)
	}
	long := strings.Repeat("ö", 600)
	if got := shortened(long, maxFailure); len(got) > maxFailure+3 || !strings.HasSuffix(got, "ö…") || !strings.HasPrefix(long, strings.TrimSuffix(got, "…")) {
		t.Errorf("got %d bytes, %q", len(got), got[len(got)-8:])
	}
}
