// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
)

// QueryInsights tells how much of its tables a statement had to look at (API reference, QueryInsightsResponse). What the service calls its
// partitions is not known. Here the share of a table in space is that of its measure names, or of the values of the dimension that is its
// partition key, which the WHERE clause names by equality or in a list; its range in time is what the WHERE clause leaves of the times that
// there are records of, in whole hours at the ends of these.

// wantsInsights tells whether a request asks for insights.
func wantsInsights(in *timestreamquery.QueryInput) bool {
	return in.QueryInsights != nil && in.QueryInsights.Mode == qtypes.QueryInsightsModeEnabledWithRateControl
}

// insights describes a statement whose result is complete.
func (db *DB) insights(plan *sqlplan.Plan, o output) (*qtypes.QueryInsightsResponse, error) {
	tables := 0
	for _, t := range plan.Tables {
		if t.Name != "" {
			tables++
		}
	}
	count := int64(tables)
	out := &qtypes.QueryInsightsResponse{QueryTableCount: &count, OutputRows: &o.rows, OutputBytes: &o.bytes}
	for i := range plan.Reads {
		r := &plan.Reads[i]
		t, _ := db.cat.table(r.Database, r.Name)
		if t == nil {
			continue
		}
		arn := db.arn(t.database, t.name)
		if n := t.readRange(r); out.QueryTemporalRange == nil || n > out.QueryTemporalRange.Max.Value {
			out.QueryTemporalRange = &qtypes.QueryTemporalRange{Max: &qtypes.QueryTemporalRangeMax{TableArn: arn, Value: n}}
		}
		key, share, err := db.readShare(t, r)
		if err != nil {
			return nil, err
		}
		if s := out.QuerySpatialCoverage; s == nil || share > s.Max.Value {
			out.QuerySpatialCoverage = &qtypes.QuerySpatialCoverage{Max: &qtypes.QuerySpatialCoverageMax{TableArn: arn, Value: share, PartitionKey: []string{key}}}
		}
	}
	return out, nil
}

// readRange is how many nanoseconds a statement looks at.
func (t *table) readRange(r *sqlplan.Read) int64 {
	from, to, ok := t.meter.Span()
	if !ok {
		return 0
	}
	if from, to = max(from, r.From), min(to, r.To); from > to {
		return 0
	}
	return to - from
}

// readShare returns a table's partition key and the share of its values that a statement looks at.
func (db *DB) readShare(t *table, r *sqlplan.Read) (key string, share float64, err error) {
	s := t.schema.Load()
	k := t.props.Load().partitionKey
	if k.Type != wtypes.PartitionKeyTypeDimension {
		named := 0
		for _, m := range s.measures {
			if slices.Contains(r.Measures, m.name) {
				named++
			}
		}
		return "measure_name", shareOf(r.Measures == nil, named, len(s.measures)), nil
	}
	key = *k.Name
	d := slices.Index(s.dims, key)
	values, narrowed := r.Dimensions[key]
	if d < 0 || !narrowed {
		return key, shareOf(true, 0, len(s.measures)), nil
	}
	all, named, err := db.countValues(t, d, values)
	return key, shareOf(false, named, all), err
}

// shareOf is named of all, or everything; nothing of nothing.
func shareOf(everything bool, named, all int) float64 {
	switch {
	case all == 0:
		return 0
	case everything:
		return 1
	}
	return float64(named) / float64(all)
}

// countValues counts the values of a dimension, and those of them that are named.
func (db *DB) countValues(t *table, d int, values []string) (all, named int, err error) {
	conn, err := db.duck.Connect()
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	rows, err := conn.Read(context.Background(), fmt.Sprintf("SELECT DISTINCT %s FROM %s WHERE %[1]s IS NOT NULL", dimColumn(d), t.seriesTable()))
	if err != nil {
		return 0, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		for i := range rows.Size() {
			all++
			if slices.Contains(values, rows.Columns()[0].String(i)) {
				named++
			}
		}
	}
	return all, named, rows.Err()
}
