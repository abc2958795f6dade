// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
)

// limited opens a database with the service's quotas and a clock that stands still until it is moved.
func limited(t *testing.T, quotas Quotas) (db *DB, now *time.Time) {
	t.Helper()
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	cfg := DefaultConfig()
	cfg.Dir, cfg.Quotas = t.TempDir(), quotas
	cfg.Now = func() time.Time { return at }
	db, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db, &at
}

func TestCallRates(t *testing.T) {
	db, now := limited(t, QuotasService)
	ctx := context.Background()
	names := 0
	tests := []struct {
		operation string
		rate      int
		call      func() error
	}{
		{"CreateDatabase", 1, func() error {
			names++
			_, err := db.CreateDatabase(ctx, &timestreamwrite.CreateDatabaseInput{DatabaseName: aws.String("db-" + strconv.Itoa(names))})
			return err
		}},
		{"UpdateTable", 1, func() error {
			_, err := db.UpdateTable(ctx, &timestreamwrite.UpdateTableInput{DatabaseName: &db.cfg.DefaultDatabase, TableName: &db.cfg.DefaultTable})
			return err
		}},
		{"DescribeTable", 5, func() error {
			_, err := db.DescribeTable(ctx, &timestreamwrite.DescribeTableInput{DatabaseName: &db.cfg.DefaultDatabase, TableName: &db.cfg.DefaultTable})
			return err
		}},
		{"ListDatabases", 5, func() error {
			_, err := db.ListDatabases(ctx, &timestreamwrite.ListDatabasesInput{})
			return err
		}},
		{"PrepareQuery", 5, func() error {
			_, err := db.PrepareQuery(ctx, &timestreamquery.PrepareQueryInput{QueryString: aws.String("SELECT 1")})
			return err
		}},
		{"DescribeAccountSettings", 1, func() error {
			_, err := db.DescribeAccountSettings(ctx, &timestreamquery.DescribeAccountSettingsInput{})
			return err
		}},
	}
	for _, tt := range tests {
		t.Run(tt.operation, func(t *testing.T) {
			for second := range 3 {
				for range tt.rate {
					if err := tt.call(); err != nil {
						t.Fatalf("second %d: %v", second, err)
					}
				}
				err := tt.call()
				var write *wtypes.ThrottlingException
				var query *qtypes.ThrottlingException
				if !errors.As(err, &write) && !errors.As(err, &query) || err.Error() != "ThrottlingException: Request rate limit exceeded" {
					t.Fatalf("second %d: got %v", second, err)
				}
				*now = now.Add(time.Second)
			}
		})
	}
	// Statements are no calls of the control plane.
	for range 20 {
		if _, err := db.Query(ctx, &timestreamquery.QueryInput{QueryString: aws.String("SHOW DATABASES")}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestQuotasOfResources(t *testing.T) {
	db, now := limited(t, QuotasService)
	ctx := context.Background()
	db.quotas.databases, db.quotas.tables = 3, 4 // to make fewer than 50,000
	over := func(err error, want string) {
		t.Helper()
		var quota *wtypes.ServiceQuotaExceededException
		if !errors.As(err, &quota) || quota.ErrorMessage() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	for i := range 3 {
		*now = now.Add(time.Second)
		_, err := db.CreateDatabase(ctx, &timestreamwrite.CreateDatabaseInput{DatabaseName: aws.String("db-" + strconv.Itoa(i))})
		if i < 2 && err != nil {
			t.Fatal(err)
		} else if i == 2 {
			over(err, "The account has the maximum of 3 databases.")
		}
	}
	for i := range 4 {
		*now = now.Add(time.Second)
		_, err := db.CreateTable(ctx, &timestreamwrite.CreateTableInput{DatabaseName: aws.String("db-" + strconv.Itoa(i%2)), TableName: aws.String("table-" + strconv.Itoa(i))})
		if i < 3 && err != nil {
			t.Fatal(err)
		} else if i == 3 {
			over(err, "The account has the maximum of 4 tables.")
		}
	}
}

func TestActiveMagneticPartitions(t *testing.T) {
	for _, quotas := range []Quotas{QuotasService, QuotasOff} {
		t.Run(string(quotas), func(t *testing.T) {
			db, now := limited(t, quotas)
			// days writes one record to each of a number of days, so many days ago.
			days := func(from, n int) error {
				var recs []wtypes.Record
				for i := range n {
					recs = append(recs, wtypes.Record{MeasureName: aws.String("m"), MeasureValue: aws.String("1"), Dimensions: []wtypes.Dimension{{Name: aws.String("h"), Value: aws.String("a")}},
						Time: aws.String(fmt.Sprint(now.AddDate(0, 0, -from-i).UnixMilli()))})
				}
				_, err := db.WriteRecords(context.Background(), &timestreamwrite.WriteRecordsInput{DatabaseName: &db.cfg.DefaultDatabase, TableName: &db.cfg.DefaultTable, Records: recs})
				return err
			}
			for _, from := range []int{1, 101} {
				if err := days(from, 100); err != nil {
					t.Fatal(err)
				}
			}
			err := days(201, 51)
			if quotas == QuotasOff {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var throttled *wtypes.ThrottlingException
			if want := "The database PrometheusDatabase has more than 250 active magnetic store partitions. Check the CloudWatch metric ActiveMagneticStorePartitions of this database."; !errors.As(err, &throttled) || throttled.ErrorMessage() != want {
				t.Fatalf("got %v", err)
			}
			if err := days(201, 50); err != nil {
				t.Errorf("the 250th: %v", err)
			}
			if err := days(1, 100); err != nil {
				t.Errorf("those that are active: %v", err)
			}
			if err := days(0, 1); err != nil {
				t.Errorf("the memory store: %v", err)
			}
			*now = now.Add(6*time.Hour - time.Nanosecond)
			if err := days(300, 1); !errors.As(err, &throttled) {
				t.Errorf("before six hours: got %v", err)
			}
			*now = now.Add(time.Nanosecond)
			if err := days(300, 100); err != nil {
				t.Errorf("after six hours: %v", err)
			}
		})
	}
}
