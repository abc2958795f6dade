// SPDX-License-Identifier: Apache-2.0

package local_test

import (
	"context"
	"reflect"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local"
)

// TestTagsAndSettingsOutliveTheProcess: they are in the file, and go from it with what they belong to.
func TestTagsAndSettingsOutliveTheProcess(t *testing.T) {
	ctx := context.Background()
	cfg := local.DefaultConfig()
	cfg.Dir = t.TempDir()
	reopen := func(db *local.DB) *local.DB {
		t.Helper()
		if db != nil {
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
		db, err := local.Open(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	db := reopen(nil)
	defer func() { _ = db.Close() }()
	name, tab := aws.String("tagged"), aws.String("tab")
	tags := []wtypes.Tag{{Key: aws.String("a"), Value: aws.String("1")}, {Key: aws.String("b'"), Value: aws.String("")}}
	if _, err := db.CreateDatabase(ctx, &timestreamwrite.CreateDatabaseInput{DatabaseName: name, Tags: tags[:1]}); err != nil {
		t.Fatal(err)
	}
	created, err := db.CreateTable(ctx, &timestreamwrite.CreateTableInput{DatabaseName: name, TableName: tab, Tags: tags[:1]})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.TagResource(ctx, &timestreamwrite.TagResourceInput{ResourceARN: created.Table.Arn, Tags: tags}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.UpdateAccountSettings(ctx, &timestreamquery.UpdateAccountSettingsInput{MaxQueryTCU: aws.Int32(12)}); err != nil {
		t.Fatal(err)
	}
	list := func(arn *string) []wtypes.Tag {
		t.Helper()
		out, err := db.ListTagsForResource(ctx, &timestreamwrite.ListTagsForResourceInput{ResourceARN: arn})
		if err != nil {
			t.Fatal(err)
		}
		return out.Tags
	}
	db = reopen(db)
	if got := list(created.Table.Arn); !reflect.DeepEqual(got, tags) {
		t.Errorf("got %v", got)
	}
	settings, err := db.DescribeAccountSettings(ctx, &timestreamquery.DescribeAccountSettingsInput{})
	if err != nil || *settings.MaxQueryTCU != 12 {
		t.Errorf("got %+v, %v", settings, err)
	}
	if _, err := db.UntagResource(ctx, &timestreamwrite.UntagResourceInput{ResourceARN: created.Table.Arn, TagKeys: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	db = reopen(db)
	if got := list(created.Table.Arn); !reflect.DeepEqual(got, tags[1:]) {
		t.Errorf("got %v", got)
	}
	if _, err := db.DeleteTable(ctx, &timestreamwrite.DeleteTableInput{DatabaseName: name, TableName: tab}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.DeleteDatabase(ctx, &timestreamwrite.DeleteDatabaseInput{DatabaseName: name}); err != nil {
		t.Fatal(err)
	}
	db = reopen(db)
	d, err := db.CreateDatabase(ctx, &timestreamwrite.CreateDatabaseInput{DatabaseName: name})
	if err != nil {
		t.Fatal(err)
	}
	if got := list(d.Database.Arn); len(got) != 0 {
		t.Errorf("a database made anew has %v", got)
	}
}
