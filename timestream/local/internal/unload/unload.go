// SPDX-License-Identifier: Apache-2.0

// Package unload writes the rows of an UNLOAD statement to files in a bucket, and the manifest and the metadata beside them (Developer Guide,
// export-unload-concepts). The names and contents of those two are those of files that the service wrote.
//
// It leaves to others to read the options of the statement, to run it, and to render its columns.
package unload

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
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

const (
	// maxPartitions is how many partitions one statement may write (Developer Guide, export-unload-limits).
	maxPartitions = 100
	// nullPartition is the folder of rows without a value; the service's is not published, this is Hive's and Trino's.
	nullPartition = "__HIVE_DEFAULT_PARTITION__"
	bufferBytes   = 32 << 10
)

// Exported is what a statement has exported.
type Exported struct {
	Rows, Bytes, Partitions int64
	// Metadata and Manifest are where these are.
	Metadata, Manifest string
}

// resultFile is a file in the manifest.
type resultFile struct {
	URL      string `json:"url"`
	Metadata struct {
		Bytes int64 `json:"content_length_in_bytes"`
		Rows  int64 `json:"row_count"`
	} `json:"file_metadata"`
	key string
}

// Writer is one statement at work. After an error it must be undone.
type Writer struct {
	buckets *bucket.Store
	u       *sqlplan.Unload
	columns []any
	// name begins the names of all files: the query's id and a number.
	name string
	// open are the files that are being written, by their folders, and folders all that there were.
	open    map[string]*openFile
	folders map[string]bool
	files   []resultFile
	text    []byte
	folder  []byte
}

// New returns a Writer for one statement. id begins the names of its files; columns are those of the query, as JSON has them in the metadata.
func New(buckets *bucket.Store, u *sqlplan.Unload, id string, columns []any) *Writer {
	return &Writer{
		buckets: buckets, u: u, columns: columns, name: id + "_" + strconv.FormatInt(int64(mathrand.Uint32()>>1), 10),
		open: map[string]*openFile{}, folders: map[string]bool{},
	}
}

// key is that of a file below the statement's place.
func (w *Writer) key(path string) string {
	if w.u.Prefix == "" {
		return path
	}
	return w.u.Prefix + "/" + path
}

func (w *Writer) url(key string) string { return "s3://" + w.u.Bucket + "/" + key }

// Row exports row i of a chunk.
func (w *Writer) Row(columns []duck.Column, i int) error {
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
func (w *Writer) file(columns []duck.Column, i int) (*openFile, error) {
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
				return nil, refused("The value '%.100s' of the column '%s' in partitioned_by cannot be part of a key: it may have characters of ASCII only, and no slash.", w.folder[from:], name)
			}
		}
	}
	if f := w.open[string(w.folder)]; f != nil {
		return f, nil
	}
	folder := string(w.folder)
	if w.folders[folder] = true; len(w.folders) > maxPartitions {
		return nil, refused("The query exports more than %d partitions.", maxPartitions)
	}
	f, err := w.create(folder)
	if err == nil {
		w.open[folder] = f
	}
	return f, err
}

// openFile is a file that is being written.
type openFile struct {
	folder, key string
	object      *bucket.Writer
	buffer      *bufio.Writer
	out         rowWriter
	rows        int64
}

// written is about the size of the file.
func (f *openFile) written() int64 { return f.object.Size() + int64(f.buffer.Buffered()) }

// rowWriter is the format of a file.
type rowWriter interface {
	row(w *Writer, columns []duck.Column, i int) error
	// end writes what is left.
	end() error
}

func (w *Writer) create(folder string) (*openFile, error) {
	extension := ".csv"
	switch {
	case w.u.Parquet:
		extension = ".parquet"
	case w.u.GZIP:
		extension = ".gz"
	}
	f := &openFile{folder: folder, key: w.key(folder + "/" + w.name + "_" + rand.Text()[:16] + extension)}
	var err error
	if f.object, err = w.buckets.Create(w.u.Bucket, f.key, math.MaxInt64); err != nil {
		return nil, accessError(err)
	}
	f.buffer = bufio.NewWriterSize(f.object, bufferBytes)
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

// accessError makes what is the statement's fault an error of the API.
func accessError(err error) error {
	if errors.Is(err, bucket.ErrNoBucket) || errors.Is(err, bucket.ErrBadKey) {
		return refused("%s", bucket.Refusal(err))
	}
	return err
}

// refused is an error of the statement.
func refused(format string, args ...any) error {
	s := fmt.Sprintf(format, args...)
	return &qtypes.QueryExecutionException{Message: &s}
}

// end gives a file its name.
func (w *Writer) end(f *openFile) error {
	err := f.out.end()
	if err == nil {
		err = f.buffer.Flush()
	}
	if err == nil {
		err = f.object.Commit()
	}
	if err != nil {
		f.object.Abort()
		return accessError(err)
	}
	r := resultFile{URL: w.url(f.key), key: f.key}
	r.Metadata.Bytes, r.Metadata.Rows = f.object.Size(), f.rows
	w.files = append(w.files, r)
	return nil
}

// Finish writes what is left, the metadata, and at last the manifest, and tells what was exported.
func (w *Writer) Finish() (o Exported, err error) {
	for folder, f := range w.open {
		delete(w.open, folder)
		if err := w.end(f); err != nil {
			return o, err
		}
	}
	slices.SortFunc(w.files, func(a, b resultFile) int { return strings.Compare(a.key, b.key) })
	o.Partitions = int64(len(w.folders))
	for _, f := range w.files {
		o.Rows += f.Metadata.Rows
		o.Bytes += f.Metadata.Bytes
	}
	format := "CSV"
	if w.u.Parquet {
		format = "PARQUET"
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
			return "", accessError(err)
		}
		w.files = append(w.files, resultFile{key: key}) // to be removed if what follows fails
		return w.url(key), nil
	}
	o.Metadata, err = put("_metadata.json", object{"ColumnInfo": w.columns, "Author": object{"Name": "Amazon Timestream", "MetadataFileVersion": "1.0"}})
	if err != nil {
		return o, err
	}
	o.Manifest, err = put("_manifest.json", object{
		"result_files": files,
		"query_metadata": object{
			"total_content_length_in_bytes": o.Bytes, "total_row_count": o.Rows, "result_format": format, "result_version": "Amazon Timestream version 1.0.0",
		},
		"author": object{"name": "Amazon Timestream", "manifest_file_version": "1.0"},
	})
	return o, err
}

// Undo removes what was written.
func (w *Writer) Undo() {
	for _, f := range w.open {
		f.object.Abort()
	}
	for _, f := range w.files {
		_ = w.buckets.Delete(w.u.Bucket, f.key) //nolint:errcheck // the statement's error is what counts
	}
}
