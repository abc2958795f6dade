// SPDX-License-Identifier: Apache-2.0

package standin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/smithy-go"
)

// upstream answers "many" in three pages of two rows after an empty one, "few" in one page, and refuses the rest.
func upstream(calls *atomic.Int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		var in struct{ QueryString, NextToken string }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || r.Header.Get("X-Amz-Target") != "Timestream_20181101.Query" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		const head = `{"QueryId":"Q","ColumnInfo":[{"Name":"block-000","Type":{"ScalarType":"VARCHAR"}}],"QueryStatus":{"ProgressPercentage":100}`
		rows := func(from int) string {
			row := `{"Data":[{"ScalarValue":"block-000"},{"ScalarValue":"%d"}]}`
			return fmt.Sprintf(`,"Rows":[`+row+`,`+row+`]}`, from, from+1)
		}
		switch page := map[string]int{"": 0, "one": 1, "two": 2, "three": 3}[in.NextToken]; {
		case in.QueryString == "few":
			fmt.Fprint(w, head+`,"Rows":[{"Data":[{"ScalarValue":"only"}]}]}`)
		case in.QueryString != "many":
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"__type":"com.amazonaws.timestream.v20181101#ValidationException","message":"no such statement"}`)
		case page == 0:
			fmt.Fprint(w, head+`,"NextToken":"one","Rows":[]}`)
		case page == 3:
			fmt.Fprint(w, head+rows(4))
		default:
			fmt.Fprint(w, head+`,"NextToken":"`+[]string{"two", "three"}[page-1]+`"`+rows(2*page-2))
		}
	})
}

// TestResults asks through the SDK, several times, and after the first there is no upstream any more.
func TestResults(t *testing.T) {
	var calls atomic.Int64
	up := httptest.NewServer(upstream(&calls))
	results := &Results{Upstream: up.URL, Client: &http.Client{Timeout: time.Minute}, Repeat: 12, Marker: "block-000", Latency: time.Millisecond}
	server := httptest.NewServer(results)
	defer server.Close()
	client := timestreamquery.New(timestreamquery.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(server.URL), EndpointDiscovery: timestreamquery.EndpointDiscoveryOptions{EnableEndpointDiscovery: aws.EndpointDiscoveryDisabled},
		Credentials: aws.AnonymousCredentials{}, Retryer: aws.NopRetryer{},
	})
	for round := range 3 {
		for statement, want := range map[string]int{"many": 12 * 6, "few": 1} {
			got := 0
			var last string
			pages := timestreamquery.NewQueryPaginator(client, &timestreamquery.QueryInput{QueryString: aws.String(statement)})
			for pages.HasMorePages() {
				p, err := pages.NextPage(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if name := aws.ToString(p.ColumnInfo[0].Name); name != "block-000" {
					t.Errorf("the column is %s", name)
				}
				for _, row := range p.Rows {
					var values []string
					for _, d := range row.Data {
						values = append(values, aws.ToString(d.ScalarValue))
					}
					if line := strings.Join(values, " "); line <= last {
						t.Errorf("%s after %s", line, last)
					} else {
						last = line
					}
					if want > 1 && values[0] != fmt.Sprintf("block-%03d", got/6) {
						t.Errorf("row %d is %v", got, values)
					}
					got++
				}
			}
			if got != want {
				t.Errorf("%s: %d rows, want %d", statement, got, want)
			}
		}
		var refused smithy.APIError
		if _, err := client.Query(t.Context(), &timestreamquery.QueryInput{QueryString: aws.String("other")}); !errors.As(err, &refused) || refused.ErrorCode() != "ValidationException" {
			t.Errorf("refused with %v", err)
		}
		if round == 0 {
			if calls.Load() != 6 {
				t.Errorf("%d calls", calls.Load())
			}
			up.Close()
		}
	}
	if results.Pages() != 3*(12*3+1+1) || results.Bytes() == 0 {
		t.Errorf("%d pages of %d bytes", results.Pages(), results.Bytes())
	}
	for _, bad := range []string{"0-0", "9-1", "0-99", "x", "0-x"} {
		if _, err := client.Query(t.Context(), &timestreamquery.QueryInput{QueryString: aws.String("few"), NextToken: aws.String(bad)}); err == nil {
			t.Errorf("token %s is taken", bad)
		}
	}
	if _, err := client.CancelQuery(t.Context(), &timestreamquery.CancelQueryInput{QueryId: aws.String("Q")}); err != nil {
		t.Error(err)
	}
}

// TestResultsTokens holds where the token stands: before the rows, as the service writes it.
func TestResultsTokens(t *testing.T) {
	var calls atomic.Int64
	up := httptest.NewServer(upstream(&calls))
	defer up.Close()
	server := httptest.NewServer(&Results{Upstream: up.URL, Client: up.Client()})
	defer server.Close()
	req, err := http.NewRequest(http.MethodPost, server.URL, strings.NewReader(`{"QueryString":"many"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", "Timestream_20181101.Query")
	res, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	want := `{"ColumnInfo":[{"Name":"block-000","Type":{"ScalarType":"VARCHAR"}}],"NextToken":"0-1","QueryId":"Q","QueryStatus":{"ProgressPercentage":100},"Rows":[]}`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
}

func TestResultsWithoutRoom(t *testing.T) {
	var calls atomic.Int64
	up := httptest.NewServer(upstream(&calls))
	defer up.Close()
	results := &Results{Upstream: up.URL, Client: up.Client(), Repeat: 11, Marker: "block-0"}
	if err := results.record(t.Context(), "many", &recorded{}); err == nil {
		t.Error("eleven repetitions with one digit")
	}
}
