// SPDX-License-Identifier: Apache-2.0

package wire

import (
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
