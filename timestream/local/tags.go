// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/listing"
	"github.com/tributary-project/tributary/timestream/local/internal/shape"
	"github.com/tributary-project/tributary/timestream/local/scheduled"
)

// Databases, tables and scheduled queries have tags. Both APIs have the three operations, with the same names and, but for the pages of one,
// the same members; on one port nobody can tell which was meant, so they are one here.

const (
	memberARN       = "resourceARN"
	textTagsQuota   = "A resource can have at most 200 tags."
	textBadResource = "The ARN '%s' is not that of a database, a table or a scheduled query."
)

// tagMap is a request's tags; of two with one key the later counts.
func tagMap(tags []wtypes.Tag) map[string]string {
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		m[*t.Key] = *t.Value
	}
	return m
}

// insertTags is the SQL that stores tags of a database, or of a table where one is named. A scheduled query's go under no database and its id.
func insertTags(database, table string, tags map[string]string) string {
	if len(tags) == 0 {
		return ""
	}
	rows := make([]string, 0, len(tags))
	for k, v := range tags {
		rows = append(rows, fmt.Sprintf("(%s, %s, %s, %s)", literal(database), literal(table), literal(k), literal(v)))
	}
	slices.Sort(rows)
	return "INSERT INTO cat_tags VALUES " + strings.Join(rows, ", ") + ";"
}

// deleteTags is the SQL that forgets tags of a resource: those with the keys, or all when there are none.
func deleteTags(database, table string, keys ...string) string {
	sql := "DELETE FROM cat_tags WHERE db = " + literal(database) + " AND tbl = " + literal(table)
	if len(keys) > 0 {
		list := make([]string, len(keys))
		for i, k := range keys {
			list[i] = literal(k)
		}
		sql += " AND k IN (" + strings.Join(list, ", ") + ")"
	}
	return sql + ";"
}

// loadTags reads the tags of everything in the catalogue.
func (db *DB) loadTags(ctx context.Context) error {
	return db.each(ctx, "SELECT db, tbl, k, v FROM cat_tags", func(c []duck.Column, i int) error {
		tags := db.tagsOf(c[0].String(i), c[1].String(i))
		if tags == nil {
			return fmt.Errorf("tags of %s.%s, which does not exist", c[0].String(i), c[1].String(i))
		}
		if *tags == nil {
			*tags = map[string]string{}
		}
		(*tags)[c[2].String(i)] = c[3].String(i)
		return nil
	})
}

// tagsOf returns where the tags of a resource are, nil if there is none. It is called under the catalogue's lock, or by the
// writer, which alone changes what is found. The map is never changed, only replaced, once the database is open.
func (db *DB) tagsOf(database, table string) *map[string]string {
	if database == "" {
		if q := db.cat.scheduled[table]; q != nil {
			return &q.tags
		}
		return nil
	}
	d := db.cat.databases[database]
	if d == nil {
		return nil
	}
	if table == "" {
		return &d.tags
	}
	if t := d.tables[table]; t != nil {
		return &t.tags
	}
	return nil
}

// parseARN reads the ARN of a database, a table or, under no database, a scheduled query, whose id may hold slashes. One of another account or region is that of no resource here.
func (db *DB) parseARN(arn string) (database, table string, err error) {
	rest, ok := strings.CutPrefix(arn, shape.ARNPrefix)
	fields := strings.SplitN(rest, ":", 3)
	if !ok || len(fields) != 3 {
		return "", "", writeInvalid(textBadResource, arn)
	}
	path := strings.Split(fields[2], "/")
	switch {
	case path[0] == "database" && len(path) == 2:
	case path[0] == "database" && len(path) == 4 && path[2] == "table":
		table = path[3]
		if table == "" {
			return "", "", writeInvalid(textBadResource, arn)
		}
	case strings.HasPrefix(fields[2], scheduled.Path):
		path, table = []string{"", ""}, strings.TrimPrefix(fields[2], scheduled.Path)
	default:
		return "", "", writeInvalid(textBadResource, arn)
	}
	if fields[0] != db.cfg.Region || fields[1] != db.cfg.AccountID {
		return "", "", notFound("The resource %s does not exist.", arn)
	}
	return path[1], table, nil
}

// changeTags replaces the tags of a resource by what f makes of a copy of them.
func (db *DB) changeTags(ctx context.Context, arn string, sql func(database, table string) string, f func(map[string]string)) error {
	database, table, err := db.parseARN(arn)
	if err != nil {
		return err
	}
	var place *map[string]string
	var tags map[string]string
	return db.change(ctx, func(c *duck.Conn) error {
		if place = db.tagsOf(database, table); place == nil {
			return notFound("The resource %s does not exist.", arn)
		}
		if tags = maps.Clone(*place); tags == nil {
			tags = map[string]string{}
		}
		f(tags)
		if len(tags) > shape.MaxTags {
			return &wtypes.ServiceQuotaExceededException{Message: text(textTagsQuota)}
		}
		if q := sql(database, table); q != "" {
			return c.Exec(q)
		}
		return nil
	}, func() { *place = tags })
}

// TagResource gives a database, table or scheduled query tags; one that it has gets the new value (API reference, TagResource).
func (db *DB) TagResource(ctx context.Context, in *timestreamwrite.TagResourceInput, _ ...WriteOption) (*timestreamwrite.TagResourceOutput, error) {
	if err := db.allowWrite("TagResource"); err != nil {
		return nil, err
	}
	var v shape.Violations
	arn := v.ARN(in.ResourceARN, memberARN)
	if in.Tags == nil {
		v.Null("tags")
	}
	v.Tags(in.Tags)
	if err := v.AsWrite(); err != nil {
		return nil, err
	}
	added := tagMap(in.Tags)
	err := db.changeTags(ctx, arn, func(database, table string) string {
		if len(added) == 0 {
			return ""
		}
		return deleteTags(database, table, slices.Collect(maps.Keys(added))...) + insertTags(database, table, added)
	}, func(tags map[string]string) { maps.Copy(tags, added) })
	if err != nil {
		return nil, err
	}
	return &timestreamwrite.TagResourceOutput{}, nil
}

// UntagResource takes tags from a database, table or scheduled query; keys that it does not have do not matter (API reference, UntagResource).
func (db *DB) UntagResource(ctx context.Context, in *timestreamwrite.UntagResourceInput, _ ...WriteOption) (*timestreamwrite.UntagResourceOutput, error) {
	if err := db.allowWrite("UntagResource"); err != nil {
		return nil, err
	}
	var v shape.Violations
	arn := v.ARN(in.ResourceARN, memberARN)
	if in.TagKeys == nil {
		v.Null("tagKeys")
	}
	v.Length(len(in.TagKeys), 0, shape.MaxTags, "", "tagKeys")
	for i := range in.TagKeys {
		v.TagKey(&in.TagKeys[i], "tagKeys."+strconv.Itoa(i+1)+".member")
	}
	if err := v.AsWrite(); err != nil {
		return nil, err
	}
	err := db.changeTags(ctx, arn, func(database, table string) string {
		if len(in.TagKeys) == 0 {
			return ""
		}
		return deleteTags(database, table, in.TagKeys...)
	}, func(tags map[string]string) {
		for _, k := range in.TagKeys {
			delete(tags, k)
		}
	})
	if err != nil {
		return nil, err
	}
	return &timestreamwrite.UntagResourceOutput{}, nil
}

// ListTagsForResource lists the tags of a database, table or scheduled query by key (API reference, ListTagsForResource).
func (db *DB) ListTagsForResource(ctx context.Context, in *timestreamwrite.ListTagsForResourceInput, _ ...WriteOption) (*timestreamwrite.ListTagsForResourceOutput, error) {
	out, _, err := db.TagPage(ctx, &timestreamquery.ListTagsForResourceInput{ResourceARN: in.ResourceARN})
	if err != nil {
		return nil, err
	}
	return &timestreamwrite.ListTagsForResourceOutput{Tags: out}, nil
}

// TagPage is ListTagsForResource with the Query API's pages, for package wire: the token of the next page is nil on the last. Without
// MaxResults a page holds all that a resource can have, so callers of the Write API, which has no pages, lose nothing.
func (db *DB) TagPage(_ context.Context, in *timestreamquery.ListTagsForResourceInput) ([]wtypes.Tag, *string, error) {
	if err := db.allowWrite("ListTagsForResource"); err != nil {
		return nil, nil, err
	}
	var v shape.Violations
	arn := v.ARN(in.ResourceARN, memberARN)
	shape.Number(&v, in.MaxResults, 1, shape.MaxTags, "maxResults")
	if err := v.AsWrite(); err != nil {
		return nil, nil, err
	}
	database, table, err := db.parseARN(arn)
	if err != nil {
		return nil, nil, err
	}
	db.cat.mu.RLock()
	place := db.tagsOf(database, table)
	var tags map[string]string
	if place != nil {
		tags = *place
	}
	db.cat.mu.RUnlock()
	if place == nil {
		return nil, nil, notFound("The resource %s does not exist.", arn)
	}
	n := shape.MaxTags
	if in.MaxResults != nil {
		n = int(*in.MaxResults)
	}
	keys, next, err := listing.Page(slices.Sorted(maps.Keys(tags)), in.NextToken, n)
	if err != nil {
		return nil, nil, writeInvalid("%v", err)
	}
	out := make([]wtypes.Tag, len(keys))
	for i, k := range keys {
		out[i] = wtypes.Tag{Key: &k, Value: text("%s", tags[k])}
	}
	return out, next, nil
}
