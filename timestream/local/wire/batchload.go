// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"reflect"
	"time"

	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
)

// batchLoadTask is what both operations say of a task.
func batchLoadTask(id *string, status wtypes.BatchLoadStatus, created, updated, resumable *time.Time) object {
	o := object{"TaskId": id, "TaskStatus": status, "CreationTime": seconds(created), "LastUpdatedTime": seconds(updated)}
	if resumable != nil {
		o["ResumableUntil"] = seconds(resumable)
	}
	return o
}

func batchLoad(t *wtypes.BatchLoadTaskDescription) object {
	o := batchLoadTask(t.TaskId, t.TaskStatus, t.CreationTime, t.LastUpdatedTime, t.ResumableUntil)
	o["RecordVersion"] = t.RecordVersion
	o["DataSourceConfiguration"] = members(t.DataSourceConfiguration)
	o["ReportConfiguration"] = members(t.ReportConfiguration)
	o["DataModelConfiguration"] = members(t.DataModelConfiguration)
	p := t.ProgressReport
	o["ProgressReport"] = object{
		"RecordsProcessed": p.RecordsProcessed, "RecordsIngested": p.RecordsIngested, "ParseFailures": p.ParseFailures,
		"RecordIngestionFailures": p.RecordIngestionFailures, "FileFailures": p.FileFailures, "BytesMetered": p.BytesMetered,
	}
	return o.with("TargetDatabaseName", t.TargetDatabaseName).with("TargetTableName", t.TargetTableName).with("ErrorMessage", t.ErrorMessage)
}

// members renders one of the SDK's shapes that was in a request: the members that it has, under their names.
func members(shape any) any {
	return present(reflect.ValueOf(shape))
}

func present(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return present(v.Elem())
	case reflect.Struct:
		o := object{}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && !f.Anonymous && !v.Field(i).IsZero() {
				o[f.Name] = present(v.Field(i))
			}
		}
		return o
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = present(v.Index(i))
		}
		return list
	}
	return v.Interface()
}
