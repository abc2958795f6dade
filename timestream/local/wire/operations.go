// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local"
)

// operations maps the names of the operations to what serves them. The SDK's output types do not write themselves, which the functions
// below do. The three operations on tags have one name in both APIs and are one here, as package local says.
func operations(db *local.DB) map[string]operation {
	return map[string]operation{
		"CreateDatabase": call(db.CreateDatabase, func(o *timestreamwrite.CreateDatabaseOutput) any {
			return object{"Database": database(o.Database)}
		}),
		"DescribeDatabase": call(db.DescribeDatabase, func(o *timestreamwrite.DescribeDatabaseOutput) any {
			return object{"Database": database(o.Database)}
		}),
		"UpdateDatabase": call(db.UpdateDatabase, func(o *timestreamwrite.UpdateDatabaseOutput) any {
			return object{"Database": database(o.Database)}
		}),
		"DeleteDatabase": call(db.DeleteDatabase, func(*timestreamwrite.DeleteDatabaseOutput) any { return object{} }),
		"ListDatabases": call(db.ListDatabases, func(o *timestreamwrite.ListDatabasesOutput) any {
			list := make([]object, len(o.Databases))
			for i := range o.Databases {
				list[i] = database(&o.Databases[i])
			}
			return object{"Databases": list}.with("NextToken", o.NextToken)
		}),
		"CreateTable": call(db.CreateTable, func(o *timestreamwrite.CreateTableOutput) any {
			return object{"Table": table(o.Table)}
		}),
		"DescribeTable": call(db.DescribeTable, func(o *timestreamwrite.DescribeTableOutput) any {
			return object{"Table": table(o.Table)}
		}),
		"UpdateTable": call(db.UpdateTable, func(o *timestreamwrite.UpdateTableOutput) any {
			return object{"Table": table(o.Table)}
		}),
		"DeleteTable": call(db.DeleteTable, func(*timestreamwrite.DeleteTableOutput) any { return object{} }),
		"ListTables": call(db.ListTables, func(o *timestreamwrite.ListTablesOutput) any {
			list := make([]object, len(o.Tables))
			for i := range o.Tables {
				list[i] = table(&o.Tables[i])
			}
			return object{"Tables": list}.with("NextToken", o.NextToken)
		}),
		"TagResource":   call(db.TagResource, func(*timestreamwrite.TagResourceOutput) any { return object{} }),
		"UntagResource": call(db.UntagResource, func(*timestreamwrite.UntagResourceOutput) any { return object{} }),
		"ListTagsForResource": func(ctx context.Context, body []byte) ([]byte, error) {
			var in timestreamquery.ListTagsForResourceInput
			if err := decode(body, &in); err != nil {
				return nil, err
			}
			tags, next, err := db.TagPage(ctx, &in)
			if err != nil {
				return nil, err
			}
			list := make([]object, len(tags))
			for i, t := range tags {
				list[i] = object{"Key": *t.Key, "Value": *t.Value}
			}
			return json.Marshal(object{"Tags": list}.with("NextToken", next))
		},
		"CreateBatchLoadTask": call(db.CreateBatchLoadTask, func(o *timestreamwrite.CreateBatchLoadTaskOutput) any {
			return object{"TaskId": o.TaskId}
		}),
		"DescribeBatchLoadTask": call(db.DescribeBatchLoadTask, func(o *timestreamwrite.DescribeBatchLoadTaskOutput) any {
			return object{"BatchLoadTaskDescription": batchLoad(o.BatchLoadTaskDescription)}
		}),
		"ListBatchLoadTasks": call(db.ListBatchLoadTasks, func(o *timestreamwrite.ListBatchLoadTasksOutput) any {
			list := make([]object, len(o.BatchLoadTasks))
			for i := range o.BatchLoadTasks {
				t := &o.BatchLoadTasks[i]
				list[i] = batchLoadTask(t.TaskId, t.TaskStatus, t.CreationTime, t.LastUpdatedTime, t.ResumableUntil).
					with("DatabaseName", t.DatabaseName).with("TableName", t.TableName)
			}
			return object{"BatchLoadTasks": list}.with("NextToken", o.NextToken)
		}),
		"ResumeBatchLoadTask": call(db.ResumeBatchLoadTask, func(*timestreamwrite.ResumeBatchLoadTaskOutput) any { return object{} }),
		"PrepareQuery": call(db.PrepareQuery, func(o *timestreamquery.PrepareQueryOutput) any {
			columns := make([]object, len(o.Columns))
			for i, c := range o.Columns {
				columns[i] = columnInfo(&qtypes.ColumnInfo{Name: c.Name, Type: c.Type}).with("DatabaseName", c.DatabaseName).with("TableName", c.TableName)
				columns[i]["Aliased"] = c.Aliased
			}
			parameters := make([]object, len(o.Parameters))
			for i, p := range o.Parameters {
				parameters[i] = columnInfo(&qtypes.ColumnInfo{Name: p.Name, Type: p.Type})
			}
			return object{"QueryString": o.QueryString, "Columns": columns, "Parameters": parameters}
		}),
		"DescribeAccountSettings": call(db.DescribeAccountSettings, func(o *timestreamquery.DescribeAccountSettingsOutput) any {
			return accountSettings(o.MaxQueryTCU, o.QueryPricingModel, o.QueryCompute)
		}),
		"UpdateAccountSettings": call(db.UpdateAccountSettings, func(o *timestreamquery.UpdateAccountSettingsOutput) any {
			return accountSettings(o.MaxQueryTCU, o.QueryPricingModel, o.QueryCompute)
		}),
		"CancelQuery": call(db.CancelQuery, func(o *timestreamquery.CancelQueryOutput) any {
			return object{}.with("CancellationMessage", o.CancellationMessage)
		}),
		"CreateScheduledQuery": call(db.CreateScheduledQuery, func(o *timestreamquery.CreateScheduledQueryOutput) any { return object{"Arn": o.Arn} }),
		"DescribeScheduledQuery": call(db.DescribeScheduledQuery, func(o *timestreamquery.DescribeScheduledQueryOutput) any {
			return object{"ScheduledQuery": members(o.ScheduledQuery)}
		}),
		"UpdateScheduledQuery":  call(db.UpdateScheduledQuery, func(*timestreamquery.UpdateScheduledQueryOutput) any { return object{} }),
		"DeleteScheduledQuery":  call(db.DeleteScheduledQuery, func(*timestreamquery.DeleteScheduledQueryOutput) any { return object{} }),
		"ExecuteScheduledQuery": call(db.ExecuteScheduledQuery, func(*timestreamquery.ExecuteScheduledQueryOutput) any { return object{} }),
		"ListScheduledQueries": call(db.ListScheduledQueries, func(o *timestreamquery.ListScheduledQueriesOutput) any {
			return object{"ScheduledQueries": members(o.ScheduledQueries)}.with("NextToken", o.NextToken)
		}),
		"Query": queryBy(db.QueryPage),
	}
}

// queryBy adapts a way to answer Query.
func queryBy(method func(context.Context, *timestreamquery.QueryInput) (*local.Page, error)) operation {
	return func(ctx context.Context, body []byte) ([]byte, error) {
		var in timestreamquery.QueryInput
		if err := decode(body, &in); err != nil {
			return nil, err
		}
		p, err := method(ctx, &in)
		if err != nil {
			return nil, err
		}
		return queryPage(p)
	}
}

// call adapts a method of the store.
func call[In, Out, Option any](method func(context.Context, *In, ...Option) (*Out, error), render func(*Out) any) operation {
	return func(ctx context.Context, body []byte) ([]byte, error) {
		var in In
		if err := decode(body, &in); err != nil {
			return nil, err
		}
		out, err := method(ctx, &in)
		if err != nil {
			return nil, err
		}
		return json.Marshal(render(out))
	}
}

type object map[string]any

// with adds a text that may be absent.
func (o object) with(name string, text *string) object {
	if text != nil {
		o[name] = *text
	}
	return o
}

// seconds is how AWS JSON writes a time.
func seconds(t *time.Time) json.Number {
	if t == nil {
		return "0"
	}
	return json.Number(strconv.FormatFloat(float64(t.UnixMilli())/1e3, 'f', 3, 64))
}

func database(d *wtypes.Database) object {
	return object{
		"TableCount": d.TableCount, "CreationTime": seconds(d.CreationTime), "LastUpdatedTime": seconds(d.LastUpdatedTime),
	}.with("Arn", d.Arn).with("DatabaseName", d.DatabaseName).with("KmsKeyId", d.KmsKeyId)
}

func table(t *wtypes.Table) object {
	keys := make([]object, len(t.Schema.CompositePartitionKey))
	for i, k := range t.Schema.CompositePartitionKey {
		keys[i] = object{"Type": k.Type}.with("Name", k.Name)
		if k.EnforcementInRecord != "" {
			keys[i]["EnforcementInRecord"] = k.EnforcementInRecord
		}
	}
	magnetic := object{"EnableMagneticStoreWrites": t.MagneticStoreWriteProperties.EnableMagneticStoreWrites}
	if l := t.MagneticStoreWriteProperties.MagneticStoreRejectedDataLocation; l != nil {
		location := object{}
		if s3 := l.S3Configuration; s3 != nil {
			c := object{}.with("BucketName", s3.BucketName).with("ObjectKeyPrefix", s3.ObjectKeyPrefix).with("KmsKeyId", s3.KmsKeyId)
			if s3.EncryptionOption != "" {
				c["EncryptionOption"] = s3.EncryptionOption
			}
			location["S3Configuration"] = c
		}
		magnetic["MagneticStoreRejectedDataLocation"] = location
	}
	return object{
		"TableStatus": t.TableStatus, "CreationTime": seconds(t.CreationTime), "LastUpdatedTime": seconds(t.LastUpdatedTime),
		"RetentionProperties": object{
			"MemoryStoreRetentionPeriodInHours":  t.RetentionProperties.MemoryStoreRetentionPeriodInHours,
			"MagneticStoreRetentionPeriodInDays": t.RetentionProperties.MagneticStoreRetentionPeriodInDays,
		},
		"MagneticStoreWriteProperties": magnetic,
		"Schema":                       object{"CompositePartitionKey": keys},
	}.with("Arn", t.Arn).with("DatabaseName", t.DatabaseName).with("TableName", t.TableName)
}

func accountSettings(tcu *int32, model qtypes.QueryPricingModel, compute *qtypes.QueryComputeResponse) object {
	c := object{"ComputeMode": compute.ComputeMode}
	if p := compute.ProvisionedCapacity; p != nil {
		o := object{"ActiveQueryTCU": p.ActiveQueryTCU, "LastUpdate": object{"Status": p.LastUpdate.Status, "TargetQueryTCU": p.LastUpdate.TargetQueryTCU}}
		if n := p.NotificationConfiguration; n != nil {
			config := object{}.with("RoleArn", n.RoleArn)
			if n.SnsConfiguration != nil {
				config["SnsConfiguration"] = object{}.with("TopicArn", n.SnsConfiguration.TopicArn)
			}
			o["NotificationConfiguration"] = config
		}
		c["ProvisionedCapacity"] = o
	}
	return object{"MaxQueryTCU": tcu, "QueryPricingModel": model, "QueryCompute": c}
}

// queryPage writes the answer of Query. The rows are JSON already and are copied as they are.
func queryPage(p *local.Page) ([]byte, error) {
	columns := make([]object, len(p.Columns))
	for i := range p.Columns {
		columns[i] = columnInfo(&p.Columns[i])
	}
	head := object{
		"QueryId":    p.QueryID,
		"ColumnInfo": columns,
		"QueryStatus": object{
			"ProgressPercentage":     p.Status.ProgressPercentage,
			"CumulativeBytesScanned": p.Status.CumulativeBytesScanned,
			"CumulativeBytesMetered": p.Status.CumulativeBytesMetered,
		},
	}
	if p.NextToken != "" {
		head["NextToken"] = p.NextToken
	}
	if i := p.Insights; i != nil {
		head["QueryInsightsResponse"] = insights(i)
	}
	b, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(b)+len(p.Rows)+16)
	out = append(out, b[:len(b)-1]...)
	out = append(out, `,"Rows":[`...)
	out = append(out, p.Rows...)
	return append(out, "]}"...), nil
}

func insights(i *qtypes.QueryInsightsResponse) object {
	o := object{"QueryTableCount": i.QueryTableCount, "OutputRows": i.OutputRows, "OutputBytes": i.OutputBytes}
	if i.UnloadPartitionCount != nil {
		o["UnloadPartitionCount"], o["UnloadWrittenRows"], o["UnloadWrittenBytes"] = i.UnloadPartitionCount, i.UnloadWrittenRows, i.UnloadWrittenBytes
	}
	if r := i.QueryTemporalRange; r != nil {
		o["QueryTemporalRange"] = object{"Max": object{"TableArn": r.Max.TableArn, "Value": r.Max.Value}}
	}
	if c := i.QuerySpatialCoverage; c != nil {
		o["QuerySpatialCoverage"] = object{"Max": object{"TableArn": c.Max.TableArn, "Value": c.Max.Value, "PartitionKey": c.Max.PartitionKey}}
	}
	return o
}

func columnInfo(c *qtypes.ColumnInfo) object { return local.ColumnMembers(c) }
