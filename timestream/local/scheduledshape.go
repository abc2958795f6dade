// SPDX-License-Identifier: Apache-2.0

package local

import (
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
)

// checkScheduled checks the constraints of the API model (API reference, CreateScheduledQuery).
func checkScheduled(in *timestreamquery.CreateScheduledQueryInput) error {
	var v violations
	v.text(in.Name, true, 1, 64, "name")
	v.pattern(in.Name, keyPattern, shownKeyPattern, "name")
	v.statement(in.QueryString)
	if c := in.ScheduleConfiguration; c == nil {
		v.null("scheduleConfiguration")
	} else {
		v.text(c.ScheduleExpression, true, 1, 256, "scheduleConfiguration.scheduleExpression")
	}
	switch c := in.NotificationConfiguration; {
	case c == nil:
		v.null("notificationConfiguration")
	case c.SnsConfiguration == nil:
		v.null("notificationConfiguration.snsConfiguration")
	default:
		v.text(c.SnsConfiguration.TopicArn, true, 1, maxARN, "notificationConfiguration.snsConfiguration.topicArn")
	}
	if c := in.TargetConfiguration; c != nil {
		v.target(c.TimestreamConfiguration, "targetConfiguration.timestreamConfiguration")
	}
	v.text(in.ClientToken, false, 32, 128, "clientToken")
	v.text(in.ScheduledQueryExecutionRoleArn, true, 1, maxARN, "scheduledQueryExecutionRoleArn")
	checkTags(&v, writeTags(in.Tags))
	v.text(in.KmsKeyId, false, 1, maxKeyID, memberKey)
	switch c := in.ErrorReportConfiguration; {
	case c == nil:
		v.null("errorReportConfiguration")
	case c.S3Configuration == nil:
		v.null("errorReportConfiguration.s3Configuration")
	default:
		const member = "errorReportConfiguration.s3Configuration"
		v.bucket(c.S3Configuration.BucketName, true, member+".bucketName")
		v.key(c.S3Configuration.ObjectKeyPrefix, 896, member+".objectKeyPrefix")
		enum(&v, c.S3Configuration.EncryptionOption, member+".encryptionOption", qtypes.S3EncryptionOptionSseS3, qtypes.S3EncryptionOptionSseKms)
	}
	return v.asQuery()
}

// target checks a TimestreamConfiguration.
func (v *violations) target(c *qtypes.TimestreamConfiguration, member string) {
	if c == nil {
		v.null(member)
		return
	}
	required := func(s *string, member string) {
		if s == nil {
			v.null(member)
		}
	}
	required(c.DatabaseName, member+"."+memberDatabase)
	required(c.TableName, member+"."+memberTable)
	required(c.TimeColumn, member+".timeColumn")
	if c.DimensionMappings == nil {
		v.null(member + ".dimensionMappings")
	}
	for i, d := range c.DimensionMappings {
		path := member + ".dimensionMappings." + strconv.Itoa(i+1) + ".member"
		required(d.Name, path+".name")
		if d.DimensionValueType == "" {
			v.null(path + ".dimensionValueType")
		}
		enum(v, d.DimensionValueType, path+".dimensionValueType", qtypes.DimensionValueTypeVarchar)
	}
	attributes := func(list []qtypes.MultiMeasureAttributeMapping, member string) {
		if list != nil {
			v.length(len(list), 1, len(list), "[]", member)
		}
		for i, a := range list {
			path := member + "." + strconv.Itoa(i+1) + ".member"
			required(a.SourceColumn, path+".sourceColumn")
			if a.MeasureValueType == "" {
				v.null(path + ".measureValueType")
			}
			enum(v, a.MeasureValueType, path+".measureValueType", qtypes.ScalarMeasureValueTypeBigint, qtypes.ScalarMeasureValueTypeBoolean,
				qtypes.ScalarMeasureValueTypeDouble, qtypes.ScalarMeasureValueTypeVarchar, qtypes.ScalarMeasureValueTypeTimestamp)
		}
	}
	if m := c.MultiMeasureMappings; m != nil {
		const list = ".multiMeasureMappings.multiMeasureAttributeMappings"
		if m.MultiMeasureAttributeMappings == nil {
			v.null(member + list)
		}
		attributes(m.MultiMeasureAttributeMappings, member+list)
	}
	if c.MixedMeasureMappings != nil {
		v.length(len(c.MixedMeasureMappings), 1, len(c.MixedMeasureMappings), "[]", member+".mixedMeasureMappings")
	}
	for i, m := range c.MixedMeasureMappings {
		path := member + ".mixedMeasureMappings." + strconv.Itoa(i+1) + ".member"
		if m.MeasureValueType == "" {
			v.null(path + ".measureValueType")
		}
		enum(v, m.MeasureValueType, path+".measureValueType", qtypes.MeasureValueTypeBigint, qtypes.MeasureValueTypeBoolean,
			qtypes.MeasureValueTypeDouble, qtypes.MeasureValueTypeVarchar, qtypes.MeasureValueTypeMulti)
		attributes(m.MultiMeasureAttributeMappings, path+".multiMeasureAttributeMappings")
	}
}
