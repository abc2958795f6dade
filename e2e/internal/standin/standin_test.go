// SPDX-License-Identifier: Apache-2.0

package standin

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
)

// sent is the body that the SDK makes of an input, and what it makes of the endpoint's answer.
func sent(t *testing.T, c *Counter, in *timestreamwrite.WriteRecordsInput) (body []byte, out *timestreamwrite.WriteRecordsOutput, err error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		body = got
		r.Body = io.NopCloser(bytes.NewReader(got))
		c.ServeHTTP(w, r)
	}))
	defer server.Close()
	client := timestreamwrite.New(timestreamwrite.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(server.URL), EndpointDiscovery: timestreamwrite.EndpointDiscoveryOptions{EnableEndpointDiscovery: aws.EndpointDiscoveryDisabled},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "id", SecretAccessKey: "key"}, nil
		}),
		Retryer: aws.NopRetryer{},
	})
	out, err = client.WriteRecords(t.Context(), in)
	return body, out, err
}

func dimensions(pairs ...string) (out []types.Dimension) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, types.Dimension{Name: &pairs[i], Value: &pairs[i+1]})
	}
	return out
}

func input(common *types.Record, records ...types.Record) *timestreamwrite.WriteRecordsInput {
	return &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("db"), TableName: aws.String("table"), CommonAttributes: common, Records: records}
}

// TestCall holds that what is counted and metered is what the SDK was given.
func TestCall(t *testing.T) {
	nasty := "\"MeasureValue\":\"1\",\"Records\":[{\\\"MeasureValues\":"
	for name, tt := range map[string]struct {
		give *timestreamwrite.WriteRecordsInput
		want int
	}{
		"one record": {
			input(nil, types.Record{Dimensions: dimensions("job", "api"), MeasureName: aws.String("up"), MeasureValue: aws.String("1.5"), MeasureValueType: types.MeasureValueTypeDouble, Time: aws.String("1790000000000")}),
			3 + 3 + 2 + 8 + 8,
		},
		"hoisted": {
			input(&types.Record{Dimensions: dimensions("job", "api", "zone", "a"), MeasureName: aws.String("up"), MeasureValueType: types.MeasureValueTypeDouble, Time: aws.String("1790000000000")},
				types.Record{Dimensions: dimensions("pod", "p1"), MeasureValue: aws.String("1")}, types.Record{Dimensions: dimensions("pod", "p22"), MeasureValue: aws.String("2")}),
			(3 + 3 + 4 + 1 + 2 + 8) + (3 + 2 + 8) + (3 + 3 + 8),
		},
		"texts that look like keys": {
			input(nil, types.Record{Dimensions: dimensions(nasty, nasty), MeasureName: &nasty, MeasureValue: aws.String("1"), MeasureValueType: types.MeasureValueTypeDouble, Time: aws.String("1")}),
			3*len(nasty) + 8 + 8,
		},
		"values of every type": {
			input(&types.Record{MeasureValueType: types.MeasureValueTypeMulti, Time: aws.String("1")},
				types.Record{Dimensions: dimensions("a", "b"), MeasureName: aws.String("m"), MeasureValues: []types.MeasureValue{
					{Name: aws.String("d"), Value: aws.String("1.25"), Type: types.MeasureValueTypeDouble}, {Name: aws.String("i"), Value: aws.String("12"), Type: types.MeasureValueTypeBigint},
					{Name: aws.String("s"), Value: aws.String("MeasureValue"), Type: types.MeasureValueTypeVarchar}, {Name: aws.String("t"), Value: aws.String("true"), Type: types.MeasureValueTypeBoolean},
				}},
				types.Record{Dimensions: dimensions("a", "c"), MeasureName: aws.String("m"), MeasureValue: aws.String("text"), MeasureValueType: types.MeasureValueTypeVarchar}),
			8 + (1 + 1 + 1 + 1 + 8 + 1 + 8 + 1 + 12 + 1 + 1) + (1 + 1 + 1 + 4),
		},
	} {
		t.Run(name, func(t *testing.T) {
			counter := &Counter{}
			var call *Call
			counter.Watch(func(c *Call, err error) {
				if err != nil {
					t.Error(err)
				}
				call = c
			})
			body, out, err := sent(t, counter, tt.give)
			if err != nil {
				t.Fatal(err)
			}
			n := len(tt.give.Records)
			if got := CountRecords(body); got != int64(n) || out.RecordsIngested.Total != int32(n) || counter.Records() != int64(n) {
				t.Errorf("counted %d, answered %d, in sum %d, want %d, of %s", got, out.RecordsIngested.Total, counter.Records(), n, body)
			}
			if counter.Requests() != 1 || counter.BodyBytes() != int64(len(body)) {
				t.Errorf("%d requests of %d bytes, want one of %d", counter.Requests(), counter.BodyBytes(), len(body))
			}
			if got := call.Metered(); got != tt.want {
				t.Errorf("metered %d, want %d", got, tt.want)
			}
			for i, r := range call.Flat() {
				if common := tt.give.CommonAttributes; r.MeasureName == nil || r.Time == nil || common != nil && len(r.Dimensions) != len(common.Dimensions)+len(tt.give.Records[i].Dimensions) {
					t.Errorf("record %d is %+v", i, r)
				}
			}
		})
	}
}

func TestRecordsThatCannotBeCounted(t *testing.T) {
	for _, body := range []string{`{"Records":[{"MeasureValue" :"1"}]}`, `{"Records":[{}]}`, `{"Records":[],"CommonAttributes":{"MeasureValue":"1"}}`, `{`} {
		if call, err := Decode([]byte(body)); err == nil {
			t.Errorf("%s: %+v", body, call)
		}
	}
	if n := CountRecords([]byte(`{}`)); n != 0 {
		t.Errorf("%d records of none", n)
	}
}

func TestFail(t *testing.T) {
	counter := &Counter{}
	in := input(nil, types.Record{Dimensions: dimensions("a", "b"), MeasureName: aws.String("m"), MeasureValue: aws.String("1"), Time: aws.String("1")})
	counter.Fail(http.StatusBadRequest, "ThrottlingException", "slow down")
	if _, _, err := sent(t, counter, in); err == nil || !strings.Contains(err.Error(), "ThrottlingException") {
		t.Errorf("error %v", err)
	}
	counter.Recover()
	if _, _, err := sent(t, counter, in); err != nil || counter.Records() != 1 {
		t.Errorf("error %v, %d records", err, counter.Records())
	}
}

func BenchmarkServe(b *testing.B) {
	var body bytes.Buffer
	body.WriteString(`{"DatabaseName":"db","TableName":"t","CommonAttributes":{"Time":"1790000000000"},"Records":[`)
	for i := range 100 {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"Dimensions":[{"Name":"instance","Value":"10.0.0.%d:9100"},{"Name":"pod","Value":"service-%08d"},{"Name":"le","Value":"0.5"}],"MeasureName":"http_request_duration_seconds_bucket","MeasureValue":"%d.25"}`, i, i, i)
	}
	body.WriteString(`]}`)
	counter := &Counter{}
	header := http.Header{"X-Amz-Target": {"Timestream_20181101.WriteRecords"}}
	reader := bytes.NewReader(nil)
	b.ReportAllocs()
	b.SetBytes(int64(body.Len()))
	for b.Loop() {
		reader.Reset(body.Bytes())
		counter.ServeHTTP(httptest.NewRecorder(), &http.Request{Method: http.MethodPost, Header: header, Body: io.NopCloser(reader)})
	}
}
