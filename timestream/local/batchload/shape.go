// SPDX-License-Identifier: Apache-2.0

package batchload

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/internal/delimited"
	"github.com/tributary-project/tributary/timestream/local/internal/shape"
)

// The constraints of the API model on batch load tasks, and what the guide says of CSV files.

const (
	maxListed        = 100
	maxS3Key         = 1024
	maxS3KeyPrefix   = 928
	maxToken         = 64
	shownTaskPattern = "[A-Z0-9]+"
)

var taskPattern = regexp.MustCompile("^(?:" + shownTaskPattern + ")$")

// taskID checks the id of a task.
func taskID(id *string) (string, error) {
	var v shape.Violations
	v.Text(id, true, 3, 32, "taskId")
	v.Pattern(id, taskPattern, shownTaskPattern, "taskId")
	return aws.ToString(id), v.AsWrite()
}

// checkCreate checks a request for a task.
func checkCreate(in *timestreamwrite.CreateBatchLoadTaskInput) error {
	var v shape.Violations
	v.Text(in.ClientToken, false, 1, maxToken, "clientToken")
	checkModelConfiguration(&v, in.DataModelConfiguration)
	checkSource(&v, in.DataSourceConfiguration)
	const report = "reportConfiguration"
	if r := in.ReportConfiguration; r == nil {
		v.Null(report)
	} else if s3 := r.ReportS3Configuration; s3 != nil {
		const member = report + ".reportS3Configuration"
		v.Bucket(s3.BucketName, true, member+".bucketName")
		v.Key(s3.ObjectKeyPrefix, false, maxS3KeyPrefix, member+".objectKeyPrefix")
		shape.Enum(&v, s3.EncryptionOption, member+".encryptionOption", wtypes.S3EncryptionOptionSseS3, wtypes.S3EncryptionOptionSseKms)
		v.KMSKey(s3.KmsKeyId, false, member+".kmsKeyId")
	}
	for _, n := range []struct {
		name   *string
		member string
	}{{in.TargetDatabaseName, "targetDatabaseName"}, {in.TargetTableName, "targetTableName"}} {
		v.Name(n.name, n.member)
		v.NameCharacters(n.name, n.member)
	}
	if err := v.AsWrite(); err != nil {
		return err
	}
	switch c := in.DataModelConfiguration; {
	case c == nil || (c.DataModel == nil) == (c.DataModelS3Configuration == nil):
		return invalid("Either DataModel or DataModelS3Configuration is required in DataModelConfiguration.")
	case c.DataModel == nil && (c.DataModelS3Configuration.BucketName == nil || c.DataModelS3Configuration.ObjectKey == nil):
		return invalid("DataModelS3Configuration requires BucketName and ObjectKey.")
	case in.ReportConfiguration.ReportS3Configuration == nil:
		return invalid("ReportConfiguration requires ReportS3Configuration.")
	case in.RecordVersion != nil && *in.RecordVersion < 1:
		return invalid("The record version %d is invalid: it must be at least 1.", *in.RecordVersion)
	}
	_, err := csvOptions(in.DataSourceConfiguration.CsvConfiguration)
	return err
}

func checkModelConfiguration(v *shape.Violations, c *wtypes.DataModelConfiguration) {
	if c == nil {
		return
	}
	const member = "dataModelConfiguration"
	if c.DataModel != nil {
		checkDataModel(v, c.DataModel, member+".dataModel")
	}
	if s3 := c.DataModelS3Configuration; s3 != nil {
		v.Bucket(s3.BucketName, false, member+".dataModelS3Configuration.bucketName")
		v.Key(s3.ObjectKey, false, maxS3Key, member+".dataModelS3Configuration.objectKey")
	}
}

// checkDataModel checks a data model; member is its path.
func checkDataModel(v *shape.Violations, m *wtypes.DataModel, member string) {
	v.Text(m.TimeColumn, false, 1, 256, member+".timeColumn")
	shape.Enum(v, m.TimeUnit, member+".timeUnit", m.TimeUnit.Values()...)
	if m.DimensionMappings == nil {
		v.Null(member + ".dimensionMappings")
	} else {
		v.Length(len(m.DimensionMappings), 1, len(m.DimensionMappings), "[]", member+".dimensionMappings")
	}
	for i := range m.DimensionMappings {
		path := member + ".dimensionMappings." + strconv.Itoa(i+1) + ".member"
		v.Filled(m.DimensionMappings[i].SourceColumn, false, path+".sourceColumn")
		v.Filled(m.DimensionMappings[i].DestinationColumn, false, path+".destinationColumn")
	}
	if mm := m.MultiMeasureMappings; mm != nil {
		path := member + ".multiMeasureMappings"
		v.Filled(mm.TargetMultiMeasureName, false, path+".targetMultiMeasureName")
		if mm.MultiMeasureAttributeMappings == nil {
			v.Null(path + ".multiMeasureAttributeMappings")
		}
		checkAttributes(v, mm.MultiMeasureAttributeMappings, path)
	}
	if mixed := m.MixedMeasureMappings; mixed != nil {
		v.Length(len(mixed), 1, len(mixed), "[]", member+".mixedMeasureMappings")
	}
	for i := range m.MixedMeasureMappings {
		x, path := &m.MixedMeasureMappings[i], member+".mixedMeasureMappings."+strconv.Itoa(i+1)+".member"
		v.Filled(x.MeasureName, false, path+".measureName")
		v.Filled(x.SourceColumn, false, path+".sourceColumn")
		v.Filled(x.TargetMeasureName, false, path+".targetMeasureName")
		if x.MeasureValueType == "" {
			v.Null(path + ".measureValueType")
		}
		shape.Enum(v, x.MeasureValueType, path+".measureValueType", x.MeasureValueType.Values()...)
		checkAttributes(v, x.MultiMeasureAttributeMappings, path)
	}
	v.Text(m.MeasureNameColumn, false, 1, 256, member+".measureNameColumn")
}

func checkAttributes(v *shape.Violations, list []wtypes.MultiMeasureAttributeMapping, member string) {
	if list == nil {
		return
	}
	member += ".multiMeasureAttributeMappings"
	v.Length(len(list), 1, len(list), "[]", member)
	for i := range list {
		a, path := &list[i], member+"."+strconv.Itoa(i+1)+".member"
		v.Filled(a.SourceColumn, true, path+".sourceColumn")
		v.Filled(a.TargetMultiMeasureAttributeName, false, path+".targetMultiMeasureAttributeName")
		shape.Enum(v, a.MeasureValueType, path+".measureValueType", a.MeasureValueType.Values()...)
	}
}

func checkSource(v *shape.Violations, s *wtypes.DataSourceConfiguration) {
	const member = "dataSourceConfiguration"
	if s == nil {
		v.Null(member)
		return
	}
	if s3 := s.DataSourceS3Configuration; s3 == nil {
		v.Null(member + ".dataSourceS3Configuration")
	} else {
		v.Bucket(s3.BucketName, true, member+".dataSourceS3Configuration.bucketName")
		v.Key(s3.ObjectKeyPrefix, false, maxS3Key, member+".dataSourceS3Configuration.objectKeyPrefix")
	}
	if c := s.CsvConfiguration; c != nil {
		v.Text(c.ColumnSeparator, false, 1, 1, member+".csvConfiguration.columnSeparator")
		v.Text(c.EscapeChar, false, 1, 1, member+".csvConfiguration.escapeChar")
		v.Text(c.QuoteChar, false, 1, 1, member+".csvConfiguration.quoteChar")
		v.Text(c.NullValue, false, 1, 256, member+".csvConfiguration.nullValue")
	}
	if s.DataFormat == "" {
		v.Null(member + ".dataFormat")
	}
	shape.Enum(v, s.DataFormat, member+".dataFormat", wtypes.BatchLoadDataFormatCsv)
}

// csvOptions are those of a file (API reference, CsvConfiguration). What holds where it says nothing is our guess: a comma, double quotes, no escape
// character, so that a quote within quotes is doubled, and white space as it is.
func csvOptions(c *wtypes.CsvConfiguration) (delimited.Options, error) {
	o := delimited.Options{Separator: ',', Quote: '"', MaxRow: maxRowBytes, MaxFields: maxColumns}
	if c == nil {
		return o, nil
	}
	for _, x := range []struct {
		member, allowed, words string
		given                  *string
		to                     *byte
	}{
		{"ColumnSeparator", ",|;\t ", "a comma, a pipe, a semicolon, a tab or a space", c.ColumnSeparator, &o.Separator},
		{"QuoteChar", `'"`, "a single or a double quote", c.QuoteChar, &o.Quote},
		{"EscapeChar", asciiMarks, "a character of ASCII that is no letter, digit or white space", c.EscapeChar, &o.Escape},
	} {
		if x.given == nil {
			continue
		}
		if !strings.Contains(x.allowed, *x.given) {
			return o, invalid("%s is %q: it has to be %s.", x.member, *x.given, x.words)
		}
		*x.to = (*x.given)[0]
	}
	if o.Escape == o.Separator {
		return o, invalid("EscapeChar and ColumnSeparator are the same character.")
	}
	o.Null = aws.ToString(c.NullValue)
	o.Trim = c.TrimWhiteSpace != nil && *c.TrimWhiteSpace
	return o, nil
}

const asciiMarks = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
