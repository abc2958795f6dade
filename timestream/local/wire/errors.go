// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"regexp"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/aws/smithy-go"

	"github.com/tributary-project/tributary/timestream/local/internal/record"
)

// namespace of the error classes, as captured from the service; violations of the API model come from the framework in
// front of it.
const (
	namespace      = "com.amazonaws.timestream.v20181101#"
	modelNamespace = "com.amazon.coral.validate#"
)

// textInternal is what the service says when it is at fault.
const textInternal = "Timestream was unable to fully process this request because of an internal server error."

// statuses are those of the Developer Guide, APITimestreamSpecificErrors; the API reference says 400 for most. Only 400 and
// 419 are confirmed by captures.
var statuses = map[string]int{
	"ValidationException":           http.StatusBadRequest,
	"QueryExecutionException":       http.StatusBadRequest,
	"ServiceQuotaExceededException": http.StatusPaymentRequired,
	"AccessDeniedException":         http.StatusForbidden,
	"ResourceNotFoundException":     http.StatusNotFound,
	"ConflictException":             http.StatusConflict,
	"RejectedRecordsException":      419,
	"InvalidEndpointException":      http.StatusMisdirectedRequest,
	"ThrottlingException":           http.StatusTooManyRequests,
	"InternalServerException":       http.StatusInternalServerError,
}

// shapeText begins the texts of the framework.
var shapeText = regexp.MustCompile(`^\d+ validation errors? detected: `)

// error answers with err and returns its class.
func (h *handler) error(w http.ResponseWriter, r *http.Request, err error) string {
	var api smithy.APIError
	switch {
	case errors.As(err, &api):
		class, text := api.ErrorCode(), api.ErrorMessage()
		status := statuses[class]
		if status == 0 {
			status = http.StatusInternalServerError
		}
		space := namespace
		if class == "ValidationException" && shapeText.MatchString(text) {
			space = modelNamespace
		}
		var members map[string]any
		var rejected *wtypes.RejectedRecordsException
		if errors.As(err, &rejected) {
			members = map[string]any{rejectedMember: rejectedRecords(rejected.RejectedRecords)}
		}
		var gone *qtypes.ResourceNotFoundException
		if errors.As(err, &gone) && gone.ScheduledQueryArn != nil {
			members = map[string]any{"ScheduledQueryArn": *gone.ScheduledQueryArn}
		}
		h.fail(w, r, status, space+class, text, members)
		return class
	case errors.Is(err, errTooLarge):
		h.fail(w, r, http.StatusRequestEntityTooLarge, "com.amazon.coral.service#RequestEntityTooLargeException", err.Error(), nil)
		return "RequestEntityTooLargeException"
	case errors.Is(err, errTooSlow):
		// The SDKs try this again.
		h.fail(w, r, http.StatusRequestTimeout, "com.amazon.coral.service#RequestTimeoutException", err.Error(), nil)
		return "RequestTimeoutException"
	case errors.Is(err, record.ErrSyntax), errors.Is(err, errBody):
		h.fail(w, r, http.StatusBadRequest, "com.amazon.coral.service#SerializationException", err.Error(), nil)
		return "SerializationException"
	case r.Context().Err() != nil:
		return "canceled" // nobody is there to read an answer
	case errors.Is(err, context.Canceled):
		h.fail(w, r, http.StatusInternalServerError, namespace+"InternalServerException", "The server is shutting down.", nil)
		return "InternalServerException"
	}
	h.log.Error("request failed", "err", err)
	h.fail(w, r, http.StatusInternalServerError, namespace+"InternalServerException", textInternal, nil)
	return "InternalServerException"
}

// rejectedMember is the member of the answer with the records that were rejected.
const rejectedMember = "RejectedRecords"

func rejectedRecords(in []wtypes.RejectedRecord) []map[string]any {
	out := make([]map[string]any, len(in))
	for i, r := range in {
		out[i] = map[string]any{"RecordIndex": r.RecordIndex}
		if r.Reason != nil {
			out[i]["Reason"] = *r.Reason
		}
		if r.ExistingVersion != nil {
			out[i]["ExistingVersion"] = *r.ExistingVersion
		}
	}
	return out
}

// fail writes an error body. What a client did wrong is in the log for those who look for it only.
func (h *handler) fail(w http.ResponseWriter, r *http.Request, status int, class, text string, members map[string]any) {
	if h.log.Enabled(r.Context(), slog.LevelDebug) {
		said := []slog.Attr{slog.String("client", r.RemoteAddr), slog.String("target", beginning(r.Header.Get("X-Amz-Target"))), slog.Int("status", status),
			slog.String("type", class), slog.String("message", text), slog.String("request_id", w.Header().Get("x-amzn-RequestId"))}
		if rejected, ok := members[rejectedMember].([]map[string]any); ok && len(rejected) > 0 {
			said = append(said, slog.Int("rejected", len(rejected)), slog.Any("first_reason", rejected[0]["Reason"]))
		}
		h.log.LogAttrs(r.Context(), slog.LevelDebug, "answered by an error", said...)
	}
	body := map[string]any{"__type": class, "message": text}
	for k, v := range members {
		body[k] = v
	}
	b, err := json.Marshal(body)
	if err != nil {
		b = []byte(`{"__type":"` + namespace + `InternalServerException"}`)
	}
	w.WriteHeader(status)
	if _, err := w.Write(b); err != nil {
		h.log.Debug("answer not sent", "err", err)
	}
}
