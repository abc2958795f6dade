// SPDX-License-Identifier: Apache-2.0

package send

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/timestream/client"
)

// Cause sorts failures, for metrics and decisions.
type Cause string

// The causes.
const (
	// Throttled: Timestream asks for patience.
	Throttled Cause = "throttled"
	// Unavailable: no answer, or one of a failing server.
	Unavailable Cause = "unavailable"
	// Credentials: there are none, or Timestream denies them.
	Credentials Cause = "credentials"
	// TableMissing: the database or the table does not exist.
	TableMissing Cause = "table_missing"
	// Quota: a quota of the AWS account.
	Quota Cause = "quota"
	// Interrupted: the request ended first.
	Interrupted Cause = "interrupted"
)

// Failure says why a call has to be made again later.
type Failure struct {
	Cause Cause
	// Text is for the sender of the samples. It quotes nothing that the service said about credentials: those answers can
	// hold the signed request, session token included.
	Text string
	// Detail is for the log; no credentials either.
	Detail string

	retry bool
}

// classify sorts the outcome of one attempt. ctx is that of the whole call. The classes and what they mean are those of
// the Timestream Developer Guide, "Timestream specific errors"; services in front of it answer with others, for which
// the status decides.
func classify(ctx context.Context, out *timestreamwrite.WriteRecordsOutput, err error, records int) Result {
	if err == nil {
		if out == nil || out.RecordsIngested == nil {
			return Result{}
		}
		return Result{Late: min(max(int(out.RecordsIngested.MagneticStore), 0), records)}
	}
	if ctx.Err() != nil {
		return Result{Failure: Interrupt(ctx)}
	}
	var (
		rejected   *types.RejectedRecordsException
		throttling *types.ThrottlingException
		internal   *types.InternalServerException
		endpoint   *types.InvalidEndpointException
		notFound   *types.ResourceNotFoundException
		denied     *types.AccessDeniedException
		quota      *types.ServiceQuotaExceededException
		invalid    *types.ValidationException
		api        smithy.APIError
	)
	switch {
	case strings.Contains(err.Error(), "get identity: "):
		// Before the call itself: the credential chain failed. Its errors can be API errors of other services.
		return fail(Credentials, false, "no AWS credentials could be obtained; see the log of the ingest service", err.Error())
	case errors.As(err, &rejected):
		if len(rejected.RejectedRecords) == 0 {
			return fail(Unavailable, false, "Timestream rejected records without saying which", rejected.ErrorMessage())
		}
		return Result{Rejected: rejected.RejectedRecords}
	case errors.As(err, &throttling):
		return fail(Throttled, true, "Timestream throttles writes: "+throttling.ErrorMessage(), "")
	case errors.As(err, &internal):
		return fail(Unavailable, true, "Timestream has an internal error: "+internal.ErrorMessage(), "")
	case errors.As(err, &endpoint):
		return fail(Unavailable, true, "Timestream moved to another endpoint: "+endpoint.ErrorMessage(), "")
	case errors.As(err, &notFound):
		return fail(TableMissing, false, notFound.ErrorMessage(), "")
	case errors.As(err, &denied):
		return fail(Credentials, false, "Timestream denies writing to the credentials of the ingest service (AccessDeniedException); see its log", denied.ErrorMessage())
	case errors.As(err, &quota):
		return fail(Quota, false, "a quota of the AWS account is exhausted: "+quota.ErrorMessage(), "")
	case errors.As(err, &invalid):
		return Result{Invalid: client.Withhold(invalid.ErrorMessage())}
	case errors.As(err, &api):
		return classifyByStatus(api, err)
	}
	// No answer at all: connection, TLS, name resolution, or the time-out of the attempt.
	if errors.Is(err, context.DeadlineExceeded) {
		return fail(Unavailable, true, "Timestream did not answer in time", err.Error())
	}
	return fail(Unavailable, true, "Timestream cannot be reached", err.Error())
}

// classifyByStatus sorts errors that the Timestream API does not declare.
func classifyByStatus(api smithy.APIError, err error) Result {
	code, status := api.ErrorCode(), 0
	var res *smithyhttp.ResponseError
	if errors.As(err, &res) {
		status = res.HTTPStatusCode()
	}
	if client.CredentialCode(code) {
		return fail(Credentials, false, "Timestream refuses the credentials of the ingest service ("+code+")", "")
	}
	if code == "AccessDenied" || code == "AccessDeniedException" {
		return fail(Credentials, false, "Timestream refuses the credentials of the ingest service ("+code+")", "")
	}
	// What the SDK's own retry policy takes for curable, whatever the status.
	if _, ok := retry.DefaultThrottleErrorCodes[code]; ok {
		return fail(Throttled, true, "Timestream throttles writes ("+code+")", "")
	}
	if _, ok := retry.DefaultRetryableErrorCodes[code]; ok {
		return fail(Unavailable, true, fmt.Sprintf("Timestream answered %s (status %d)", code, status), "")
	}
	if code == "ServiceQuotaExceededException" || status == http.StatusPaymentRequired { // not declared for WriteRecords
		return fail(Quota, false, "a quota of the AWS account is exhausted: "+api.ErrorMessage(), "")
	}
	said := fmt.Sprintf("Timestream answered %s (status %d)", code, status)
	if code == "UnknownError" {
		// The SDK's word for an answer without a code: not Timestream's, but of something on the way.
		return fail(Unavailable, true, said, "")
	}
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fail(Credentials, false, "Timestream refuses the credentials of the ingest service ("+code+")", "")
	case http.StatusTooManyRequests:
		return fail(Throttled, true, said, "")
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		// Only these speak of what was sent. The others, such as the 407 of a proxy, are about the way there, which is mended
		// while the sender waits; a refusal would make it drop its samples.
		return Result{Invalid: code + ": " + client.Withhold(api.ErrorMessage())}
	}
	return fail(Unavailable, true, said, "")
}

func fail(c Cause, retry bool, text, detail string) Result {
	return Result{Failure: &Failure{Cause: c, Text: Clip(text), Detail: Clip(detail), retry: retry}}
}

// maxText bounds what is repeated of the service's words: some of its messages quote the whole request.
const maxText = 500

// Clip shortens a text of the service, and withholds one that could hold credentials.
func Clip(text string) string {
	text = client.Withhold(text)
	if len(text) <= maxText {
		return text
	}
	n := maxText
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + "…"
}

// Reason sorts the text that Timestream gives for refusing a record. Only the texts of conflicts and of the ingestion
// window are known; limits and types are recognised by what their texts must speak of.
func Reason(text string) ledger.Reason {
	t := strings.ToLower(text)
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(t, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("a record already exists", "lower than the existing version"):
		return ledger.Conflict
	case has("outside the time range", "ingestion window", "retention period"):
		return ledger.OutOfWindow
	case has("type") && has("measure", "attribute", "column", "dimension") && has("already", "mismatch", "match", "conflict", "differ", "expected", "bound", "existing"):
		return ledger.TypeConflict
	case has("exceed", "limit", "maximum", "too many", "too long", "too large", "less than or equal to", "at most"):
		return ledger.LimitExceeded
	}
	return ledger.Refused
}
