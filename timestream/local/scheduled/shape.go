// SPDX-License-Identifier: Apache-2.0

package scheduled

import (
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/timestream/local/internal/shape"
)

// checkCreate checks the constraints of the API model (API reference, CreateScheduledQuery).
func checkCreate(in *timestreamquery.CreateScheduledQueryInput) error {
	var v shape.Violations
	v.Key(in.Name, true, 64, "name")
	v.Statement(in.QueryString, "queryString")
	if c := in.ScheduleConfiguration; c == nil {
		v.Null("scheduleConfiguration")
	} else {
		v.Text(c.ScheduleExpression, true, 1, 256, "scheduleConfiguration.scheduleExpression")
	}
	switch c := in.NotificationConfiguration; {
	case c == nil:
		v.Null("notificationConfiguration")
	case c.SnsConfiguration == nil:
		v.Null("notificationConfiguration.snsConfiguration")
	default:
		v.ARN(c.SnsConfiguration.TopicArn, "notificationConfiguration.snsConfiguration.topicArn")
	}
	if c := in.TargetConfiguration; c != nil {
		checkTarget(&v, c.TimestreamConfiguration, "targetConfiguration.timestreamConfiguration")
	}
	v.Text(in.ClientToken, false, 32, 128, "clientToken")
	v.ARN(in.ScheduledQueryExecutionRoleArn, "scheduledQueryExecutionRoleArn")
	v.Tags(writeTags(in.Tags))
	v.KMSKey(in.KmsKeyId, false, "kmsKeyId")
	switch c := in.ErrorReportConfiguration; {
	case c == nil:
		v.Null("errorReportConfiguration")
	case c.S3Configuration == nil:
		v.Null("errorReportConfiguration.s3Configuration")
	default:
		const member = "errorReportConfiguration.s3Configuration"
		v.Bucket(c.S3Configuration.BucketName, true, member+".bucketName")
		v.Key(c.S3Configuration.ObjectKeyPrefix, false, 896, member+".objectKeyPrefix")
		shape.Enum(&v, c.S3Configuration.EncryptionOption, member+".encryptionOption", qtypes.S3EncryptionOptionSseS3, qtypes.S3EncryptionOptionSseKms)
	}
	return v.AsQuery()
}

// checkTarget checks a TimestreamConfiguration.
func checkTarget(v *shape.Violations, c *qtypes.TimestreamConfiguration, member string) {
	if c == nil {
		v.Null(member)
		return
	}
	required := func(s *string, member string) {
		if s == nil {
			v.Null(member)
		}
	}
	required(c.DatabaseName, member+"."+"databaseName")
	required(c.TableName, member+"."+"tableName")
	required(c.TimeColumn, member+".timeColumn")
	if c.DimensionMappings == nil {
		v.Null(member + ".dimensionMappings")
	}
	for i, d := range c.DimensionMappings {
		path := member + ".dimensionMappings." + strconv.Itoa(i+1) + ".member"
		required(d.Name, path+".name")
		if d.DimensionValueType == "" {
			v.Null(path + ".dimensionValueType")
		}
		shape.Enum(v, d.DimensionValueType, path+".dimensionValueType", qtypes.DimensionValueTypeVarchar)
	}
	attributes := func(list []qtypes.MultiMeasureAttributeMapping, member string) {
		if list != nil {
			v.Length(len(list), 1, len(list), "[]", member)
		}
		for i, a := range list {
			path := member + "." + strconv.Itoa(i+1) + ".member"
			required(a.SourceColumn, path+".sourceColumn")
			if a.MeasureValueType == "" {
				v.Null(path + ".measureValueType")
			}
			shape.Enum(v, a.MeasureValueType, path+".measureValueType", qtypes.ScalarMeasureValueTypeBigint, qtypes.ScalarMeasureValueTypeBoolean,
				qtypes.ScalarMeasureValueTypeDouble, qtypes.ScalarMeasureValueTypeVarchar, qtypes.ScalarMeasureValueTypeTimestamp)
		}
	}
	if m := c.MultiMeasureMappings; m != nil {
		const list = ".multiMeasureMappings.multiMeasureAttributeMappings"
		if m.MultiMeasureAttributeMappings == nil {
			v.Null(member + list)
		}
		attributes(m.MultiMeasureAttributeMappings, member+list)
	}
	if c.MixedMeasureMappings != nil {
		v.Length(len(c.MixedMeasureMappings), 1, len(c.MixedMeasureMappings), "[]", member+".mixedMeasureMappings")
	}
	for i, m := range c.MixedMeasureMappings {
		path := member + ".mixedMeasureMappings." + strconv.Itoa(i+1) + ".member"
		if m.MeasureValueType == "" {
			v.Null(path + ".measureValueType")
		}
		shape.Enum(v, m.MeasureValueType, path+".measureValueType", qtypes.MeasureValueTypeBigint, qtypes.MeasureValueTypeBoolean,
			qtypes.MeasureValueTypeDouble, qtypes.MeasureValueTypeVarchar, qtypes.MeasureValueTypeMulti)
		attributes(m.MultiMeasureAttributeMappings, path+".multiMeasureAttributeMappings")
	}
}
