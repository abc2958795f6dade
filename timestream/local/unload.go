// SPDX-License-Identifier: Apache-2.0

package local

import (
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/timestream/local/bucket"
	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
	"github.com/tributary-project/tributary/timestream/local/internal/unload"
)

// unloadsPerSecond is the rate of statements with UNLOAD (Developer Guide, export-unload-limits), with quotas only.
const unloadsPerSecond = 1

// checkUnload tells whether a statement may be run now, before it is.
func (db *DB) checkUnload(u *sqlplan.Unload) error {
	if !db.quotas.call(sqlplan.ActionUnload, db.now()) {
		return &qtypes.ThrottlingException{Message: text(textRateExceeded)}
	}
	err := db.buckets.Exists(u.Bucket)
	if err == nil && u.Prefix != "" {
		err = bucket.ValidKey(u.Prefix)
	}
	if err != nil {
		return queryInvalid("%s", bucket.Refusal(err))
	}
	return nil
}

// unload exports the rows of a statement and returns its result's only row. A statement that fails leaves nothing behind; the service may.
func (r *openResult) unload(buckets *bucket.Store) (page []byte, last bool, err error) {
	info := r.plan.Unload.Query.ColumnInfo()
	columns := make([]any, len(info))
	for i := range info {
		columns[i] = ColumnMembers(&info[i])
	}
	w := unload.New(buckets, r.plan.Unload, r.id, columns)
	defer func() {
		if err != nil {
			w.Undo()
		}
	}()
	for r.rows.Next() {
		columns := r.rows.Columns()
		for i := range r.rows.Size() {
			if err := w.Row(columns, i); err != nil {
				return nil, false, err
			}
		}
	}
	if err := r.rows.Err(); err != nil {
		return nil, false, err
	}
	r.close()
	o, err := w.Finish()
	if err != nil {
		return nil, false, err
	}
	r.unloaded = o
	r.inPage, r.output.rows = 1, 1
	row := qtypes.Row{Data: []qtypes.Datum{{ScalarValue: text("%d", o.Rows)}, {ScalarValue: &o.Metadata}, {ScalarValue: &o.Manifest}}}
	one := sqlplan.Plan{Static: [][]qtypes.Datum{row.Data}}
	page = one.AppendStatic(nil, 0)
	r.output.bytes = int64(len(page))
	return page, true, nil
}

// ColumnMembers is a column of a result as the Query API and the metadata of UNLOAD write it in JSON.
func ColumnMembers(c *qtypes.ColumnInfo) map[string]any {
	o := map[string]any{}
	if c.Name != nil {
		o["Name"] = *c.Name
	}
	t := c.Type
	switch {
	case t == nil:
	case t.ScalarType != "":
		o["Type"] = map[string]any{"ScalarType": t.ScalarType}
	case t.TimeSeriesMeasureValueColumnInfo != nil:
		o["Type"] = map[string]any{"TimeSeriesMeasureValueColumnInfo": ColumnMembers(t.TimeSeriesMeasureValueColumnInfo)}
	case t.ArrayColumnInfo != nil:
		o["Type"] = map[string]any{"ArrayColumnInfo": ColumnMembers(t.ArrayColumnInfo)}
	default:
		fields := make([]any, len(t.RowColumnInfo))
		for i := range t.RowColumnInfo {
			fields[i] = ColumnMembers(&t.RowColumnInfo[i])
		}
		o["Type"] = map[string]any{"RowColumnInfo": fields}
	}
	return o
}

// errUnloadHere is the answer to those who read rows without pages.
func errUnloadHere() error {
	return queryInvalid("UNLOAD is for the Query API only.")
}
