// SPDX-License-Identifier: Apache-2.0

package querytest

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/smithy-go"

	"github.com/tributary-project/tributary/timestream/client"
)

// ServeHTTP speaks Timestream's wire protocol, AWS JSON 1.0.
func (b *Backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	var out any
	var err error
	switch op {
	case "Query":
		var in timestreamquery.QueryInput
		if err = json.NewDecoder(r.Body).Decode(&in); err == nil {
			out, err = b.Query(r.Context(), &in)
		}
	case "CancelQuery":
		var in timestreamquery.CancelQueryInput
		if err = json.NewDecoder(r.Body).Decode(&in); err == nil {
			out, err = b.CancelQuery(r.Context(), &in)
		}
	default:
		err = &smithy.GenericAPIError{Code: "UnknownOperationException"}
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if err != nil {
		WriteError(w, err)
		return
	}
	_ = json.NewEncoder(w).Encode(out) //nolint:errcheck // the client is gone
}

// WriteError answers an error of the SDK as the service does.
func WriteError(w http.ResponseWriter, err error) {
	code, message, status := "InternalServerException", err.Error(), http.StatusInternalServerError
	var api smithy.APIError
	if errors.As(err, &api) {
		code, message = api.ErrorCode(), api.ErrorMessage()
		switch code {
		case "InternalServerException":
		case "ThrottlingException":
			status = http.StatusTooManyRequests
		case "AccessDeniedException":
			status = http.StatusForbidden
		default:
			status = http.StatusBadRequest
		}
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"__type": "com.amazonaws.timestream.v20181101#" + code, "message": message}) //nolint:errcheck // the client is gone
}

// Client starts a server of h for the time of the test and returns the real SDK's client of it.
func Client(t testing.TB, h http.Handler) *timestreamquery.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	cfg := client.DefaultConfig()
	cfg.Endpoint, cfg.LocalCredentials = srv.URL, true
	c, err := client.NewQuery(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
