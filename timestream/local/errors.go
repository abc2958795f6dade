// SPDX-License-Identifier: Apache-2.0

package local

import (
	"fmt"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
)

// Texts of the service that are known from captures; the others in this package are our own words, and the README lists
// them as such.
const (
	textRejected      = "One or more records have been rejected. See RejectedRecords for details."
	textNoDimension   = "At least one dimension is required for a record."
	textBadTimestamp  = "TIMESTAMP is an invalid measure value type."
	textExists        = "Timestream was unable to process this request because it contains resource that already exists."
	textSameVersion   = "A record already exists with the same time, dimensions, measure name, and record version. A higher record version must be specified in order to update the measure value. Specifying record version is supported by the latest SDKs."
	textManyKeys      = "You have specified too many partition keys to be used in your composite partition key. Only 1 partition keys can be specified."
	textBadToken      = "Invalid pagination token"
	textRowTooLarge   = "Query aborted as max page response size has been exceeded by the output result row"
	textRateExceeded  = "Request rate limit exceeded"
	timeLayoutWindow  = "2006-01-02T15:04:05.000Z"
	textInternal      = "Timestream was unable to fully process this request because of an internal server error."
	textQueryCanceled = "The query was cancelled."
)

// Our own words for what the service refuses in words that nobody has published.
const (
	textKeyFixed     = "The name and type of a partition key cannot be changed after the table was created."
	textMeasureKey   = "A partition key of type MEASURE must not have a name or an enforcement level."
	textDimensionKey = "A partition key of type DIMENSION must have the name of a dimension."
)

func writeInvalid(format string, args ...any) error {
	return &wtypes.ValidationException{Message: text(format, args...)}
}

func notFound(format string, args ...any) error {
	return &wtypes.ResourceNotFoundException{Message: text(format, args...)}
}

func writeInternal() error { return &wtypes.InternalServerException{Message: text(textInternal)} }

// writeFailed is InternalServerException for an error of the disk or of DuckDB; the log has its text.
func writeFailed(err error) error { return &wtypes.InternalServerException{Message: internalText(err)} }

func writeThrottled() error { return &wtypes.ThrottlingException{Message: text(textRateExceeded)} }

func queryInvalid(format string, args ...any) error {
	return &qtypes.ValidationException{Message: text(format, args...)}
}

func queryInternal() error { return &qtypes.InternalServerException{Message: text(textInternal)} }

func queryFailed(err error) error { return &qtypes.InternalServerException{Message: internalText(err)} }

// internalText tells a client what only an operator can mend.
func internalText(err error) *string {
	switch {
	case diskFull(err):
		return text(textInternal + " The disk of its data directory is full.")
	case damaged(err):
		return text(textInternal + " Its database file is damaged.")
	}
	return text(textInternal)
}

func text(format string, args ...any) *string {
	if len(args) == 0 {
		return &format
	}
	s := fmt.Sprintf(format, args...)
	return &s
}

// denied is the text of IAM; the names of principal and resource are made up.
func (c *Config) denied(action string) *string {
	return text("User: arn:aws:iam::%s:user/local is not authorized to perform: timestream:%s because no identity-based policy allows the timestream:%s action", c.AccountID, action, action)
}
