// SPDX-License-Identifier: Apache-2.0

package local

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"math"
	mathrand "math/rand/v2"
	"slices"
	"strconv"
	"strings"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/timestream/local/bucket"
	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
)

// UNLOAD writes the rows of a query to files in a bucket (Developer Guide, export-unload-concepts). The names and contents of the manifest and the
// metadata are those of files that the service wrote. A statement that fails leaves nothing behind; the service may.

const (
	// maxUnloadPartitions is how many partitions one statement may write (Developer Guide, export-unload-limits).
	maxUnloadPartitions = 100
	// unloadsPerSecond is the rate of such statements (the same page), with quotas only.
	unloadsPerSecond = 1
	// nullPartition is the folder of rows without a value; the service's is not published, this is Hive's and Trino's.
	nullPartition = "__HIVE_DEFAULT_PARTITION__"
	unloadBuffer  = 32 << 10
)

// unloaded is what a statement has exported.
type unloaded struct{ rows, bytes, partitions int64 }

// resultFile is a file in the manifest.
type resultFile struct {
	URL      string `json:"url"`
	Metadata struct {
		Bytes int64 `json:"content_length_in_bytes"`
		Rows  int64 `json:"row_count"`
	} `json:"file_metadata"`
	key string
}

// unloading is one statement at work.
type unloading struct {
	buckets *bucket.Store
	u       *sqlplan.Unload
	// name begins the names of all files: the query's id and a number.
	name string
	// open are the files that are being written, by their folders, and folders all that there were.
	open    map[string]*unloadFile
	folders map[string]bool
	files   []resultFile
	text    []byte
	folder  []byte
}

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
		return queryInvalid("Unable to access S3: %v", err)
	}
	return nil
}

// unload exports the rows of a statement and returns its result's only row.
func (r *openResult) unload(buckets *bucket.Store) (page []byte, last bool, err error) {
	w := &unloading{
		buckets: buckets, u: r.plan.Unload, name: r.id + "_" + strconv.FormatInt(int64(mathrand.Uint32()>>1), 10),
		open: map[string]*unloadFile{}, folders: map[string]bool{},
	}
	defer func() {
		if err != nil {
			w.undo()
		}
	}()
	for r.rows.Next() {
		columns := r.rows.Columns()
		for i := range r.rows.Size() {
			if err := w.row(columns, i); err != nil {
				return nil, false, err
			}
		}
	}
	if err := r.rows.Err(); err != nil {
		return nil, false, err
	}
	r.close()
	metadata, manifest, err := w.finish(&r.unloaded)
	if err != nil {
		return nil, false, err
	}
	r.inPage, r.output.rows = 1, 1
	row := qtypes.Row{Data: []qtypes.Datum{{ScalarValue: text("%d", r.unloaded.rows)}, {ScalarValue: &metadata}, {ScalarValue: &manifest}}}
	one := sqlplan.Plan{Static: [][]qtypes.Datum{row.Data}}
	page = one.AppendStatic(nil, 0)
	r.output.bytes = int64(len(page))
	return page, true, nil
}

// key is that of a file below the statement's place.
func (w *unloading) key(path string) string {
	if w.u.Prefix == "" {
		return path
	}
	return w.u.Prefix + "/" + path
}

func (w *unloading) url(key string) string { return "s3://" + w.u.Bucket + "/" + key }

// row exports row i of a chunk.
func (w *unloading) row(columns []duck.Column, i int) error {
	f, err := w.file(columns, i)
	if err != nil {
		return err
	}
	if err := f.out.row(w, columns, i); err != nil {
		return err
	}
	f.rows++
	if f.written() < w.u.MaxFileBytes {
		return nil
	}
	delete(w.open, f.folder)
	return w.end(f)
}

// file is the file that a row goes to.
func (w *unloading) file(columns []duck.Column, i int) (*unloadFile, error) {
	w.folder = append(w.folder[:0], "results"...)
	exported := len(columns) - w.u.Partitions
	for k := exported; k < len(columns); k++ {
		name := w.u.Query.Columns[k].Name
		w.folder = append(append(append(w.folder, '/'), name...), '=')
		from := len(w.folder)
		var null bool
		var err error
		if w.folder, null, err = w.u.AppendText(w.folder, columns, k, i); err != nil {
			return nil, err
		}
		if null {
			w.folder = append(w.folder, nullPartition...)
		}
		// Only ASCII may be in a key, as the guide says of such values (export-unload-best-practices); a slash would be another folder.
		for _, b := range w.folder[from:] {
			if b >= 0x80 || b < ' ' || b == '/' {
				return nil, &qtypes.QueryExecutionException{Message: text("The value '%.100s' of the column '%s' in partitioned_by cannot be part of a key: it may have characters of ASCII only, and no slash.", w.folder[from:], name)}
			}
		}
	}
	if f := w.open[string(w.folder)]; f != nil {
		return f, nil
	}
	folder := string(w.folder)
	if w.folders[folder] = true; len(w.folders) > maxUnloadPartitions {
		return nil, &qtypes.QueryExecutionException{Message: text("The query exports more than %d partitions.", maxUnloadPartitions)}
	}
	f, err := w.create(folder)
	if err == nil {
		w.open[folder] = f
	}
	return f, err
}

// unloadFile is a file that is being written.
type unloadFile struct {
	folder, key string
	object      *bucket.Writer
	buffer      *bufio.Writer
	out         rowWriter
	rows        int64
}

// written is about the size of the file.
func (f *unloadFile) written() int64 { return f.object.Size() + int64(f.buffer.Buffered()) }

// rowWriter is the format of a file.
type rowWriter interface {
	row(w *unloading, columns []duck.Column, i int) error
	// end writes what is left.
	end() error
}

func (w *unloading) create(folder string) (*unloadFile, error) {
	extension := ".csv"
	switch {
	case w.u.Parquet:
		extension = ".parquet"
	case w.u.GZIP:
		extension = ".gz"
	}
	f := &unloadFile{folder: folder, key: w.key(folder + "/" + w.name + "_" + rand.Text()[:16] + extension)}
	var err error
	if f.object, err = w.buckets.Create(w.u.Bucket, f.key, math.MaxInt64); err != nil {
		return nil, bucketQueryError(err)
	}
	f.buffer = bufio.NewWriterSize(f.object, unloadBuffer)
	if w.u.Parquet {
		f.out, err = newParquetRows(w.u, f.buffer)
	} else {
		f.out, err = newCSVRows(w, f.buffer)
	}
	if err != nil {
		f.object.Abort()
		return nil, err
	}
	return f, nil
}

// bucketQueryError makes what is the statement's fault an error of the API.
func bucketQueryError(err error) error {
	if errors.Is(err, bucket.ErrNoBucket) || errors.Is(err, bucket.ErrBadKey) {
		return &qtypes.QueryExecutionException{Message: text("Unable to access S3: %v", err)}
	}
	return err
}

// end gives a file its name.
func (w *unloading) end(f *unloadFile) error {
	err := f.out.end()
	if err == nil {
		err = f.buffer.Flush()
	}
	if err == nil {
		err = f.object.Commit()
	}
	if err != nil {
		f.object.Abort()
		return bucketQueryError(err)
	}
	r := resultFile{URL: w.url(f.key), key: f.key}
	r.Metadata.Bytes, r.Metadata.Rows = f.object.Size(), f.rows
	w.files = append(w.files, r)
	return nil
}

// finish writes what is left, the metadata, and at last the manifest, and returns where the two are.
func (w *unloading) finish(o *unloaded) (metadata, manifest string, err error) {
	for folder, f := range w.open {
		delete(w.open, folder)
		if err := w.end(f); err != nil {
			return "", "", err
		}
	}
	slices.SortFunc(w.files, func(a, b resultFile) int { return strings.Compare(a.key, b.key) })
	o.partitions = int64(len(w.folders))
	for _, f := range w.files {
		o.rows += f.Metadata.Rows
		o.bytes += f.Metadata.Bytes
	}
	format := "CSV"
	if w.u.Parquet {
		format = "PARQUET"
	}
	columns := w.u.Query.ColumnInfo()
	info := make([]any, len(columns))
	for i := range columns {
		info[i] = ColumnMembers(&columns[i])
	}
	type object = map[string]any
	files := w.files
	if files == nil {
		files = []resultFile{}
	}
	put := func(name string, content object) (string, error) {
		b, err := json.MarshalIndent(content, "", "  ")
		if err != nil {
			return "", err
		}
		key := w.key(w.name + name)
		if err := w.buckets.Put(w.u.Bucket, key, b); err != nil {
			return "", bucketQueryError(err)
		}
		w.files = append(w.files, resultFile{key: key}) // to be removed if what follows fails
		return w.url(key), nil
	}
	metadata, err = put("_metadata.json", object{"ColumnInfo": info, "Author": object{"Name": "Amazon Timestream", "MetadataFileVersion": "1.0"}})
	if err != nil {
		return "", "", err
	}
	manifest, err = put("_manifest.json", object{
		"result_files": files,
		"query_metadata": object{
			"total_content_length_in_bytes": o.bytes, "total_row_count": o.rows, "result_format": format, "result_version": "Amazon Timestream version 1.0.0",
		},
		"author": object{"name": "Amazon Timestream", "manifest_file_version": "1.0"},
	})
	return metadata, manifest, err
}

// undo removes what was written.
func (w *unloading) undo() {
	for _, f := range w.open {
		f.object.Abort()
	}
	for _, f := range w.files {
		_ = w.buckets.Delete(w.u.Bucket, f.key) //nolint:errcheck // the statement's error is what counts
	}
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
