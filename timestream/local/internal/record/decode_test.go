// SPDX-License-Identifier: Apache-2.0

package record

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
)

const whole = ` {"DatabaseName":"db","TableName":"t", "CommonAttributes":{"Dimensions":[{"Name":"a","Value":"1","DimensionValueType":"VARCHAR"}],"MeasureValueType":"DOUBLE","TimeUnit":"MILLISECONDS","Time":"5","Version":3},
 "Records":[{"MeasureName":"m","MeasureValue":"0.42","Dimensions":[{"Name":"b\u00e4\ud83d\ude00","Value":"x\"\\\/\b\f\n\r\t"}]},
 {"MeasureValues":[{"Name":"v","Value":"1","Type":"BIGINT"},{"Name":"w","Value":"äöü","Type":"VARCHAR"}],"MeasureValueType":"MULTI","Version":12}, {}]} `

func TestDecode(t *testing.T) {
	var got Request
	if err := Decode([]byte(whole), &got); err != nil {
		t.Fatal(err)
	}
	want := Request{Database: "db", Table: "t",
		Common: Record{Dimensions: []Dimension{{"a", "1", "VARCHAR"}}, MeasureValueType: "DOUBLE", TimeUnit: "MILLISECONDS", Time: "5", Version: 3,
			Has: MeasureValueType | TimeUnit | Time | Version},
		Records: []Record{
			{Dimensions: []Dimension{{"bä😀", "x\"\\/\b\f\n\r\t", ""}}, MeasureName: "m", MeasureValue: "0.42", Has: MeasureName | MeasureValue},
			{Attributes: []Attribute{{"v", "1", "BIGINT"}, {"w", "äöü", "VARCHAR"}}, MeasureValueType: "MULTI", Version: 12, Has: MeasureValueType | Version},
			{},
		}}
	if !equal(&got, &want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

// equal compares what a request says, not how its memory is laid out.
func equal(a, b *Request) bool {
	if a.Database != b.Database || a.Table != b.Table || len(a.Records) != len(b.Records) || !equalRecord(&a.Common, &b.Common) {
		return false
	}
	for i := range a.Records {
		if !equalRecord(&a.Records[i], &b.Records[i]) {
			return false
		}
	}
	return true
}

func equalRecord(a, b *Record) bool {
	x, y := *a, *b
	if len(x.Dimensions) != len(y.Dimensions) || len(x.Attributes) != len(y.Attributes) {
		return false
	}
	for i := range x.Dimensions {
		if x.Dimensions[i] != y.Dimensions[i] {
			return false
		}
	}
	for i := range x.Attributes {
		if x.Attributes[i] != y.Attributes[i] {
			return false
		}
	}
	x.Dimensions, y.Dimensions, x.Attributes, y.Attributes = nil, nil, nil, nil
	return reflect.DeepEqual(x, y)
}

func TestDecodeIgnoresWhatItDoesNotKnow(t *testing.T) {
	var got Request
	err := Decode([]byte(`{"X":[1,-2.5e+3,{"Y":null,"Z":[true,false,"\n"]}],"DatabaseName":null,"TableName":"t","CommonAttributes":null,
		"Records":[{"New":{},"Time":null,"Version":null,"Dimensions":[{"Name":"a","Value":"b","Extra":1}]},null],"Y":{}}`), &got)
	if err != nil {
		t.Fatal(err)
	}
	want := Request{Table: "t", Records: []Record{{Dimensions: []Dimension{{"a", "b", ""}}}, {}}}
	if !equal(&got, &want) {
		t.Errorf("got %+v", got)
	}
}

func TestDecodeErrors(t *testing.T) {
	for _, give := range []string{
		"", "{", "[]", `"x"`, "{}x", `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{"Records":{}}`, `{"Records":[{]}`, `{"Records":[{"Version":"1"}]}`, `{"Records":[{"Version":1.5}]}`,
		`{"Records":[{"Version":99999999999999999999}]}`, `{"TableName":1}`, `{"TableName":"` + "\n" + `"}`, `{"TableName":"\x"}`, `{"TableName":"\u12"}`, `{"TableName":"\u12g4"}`, `{"TableName":"a\`,
		`{"TableName":"a`, "{\"TableName\":\"\xff\"}", `{"X":tru}`, `{"X":-}`, `{"X":01}`, `{"X":1.}`, `{"X":+1}`, `{"X":.5}`, `{"X":1e}`, `{"X":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, `{"CommonAttributes":[]}`, `{"Records":[{"Dimensions":[1]}]}`,
	} {
		var r Request
		if err := Decode([]byte(give), &r); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: got %v", give, err)
		}
	}
}

// TestReuse decodes into one request again and again: nothing of the request before may be left.
func TestReuse(t *testing.T) {
	var p Pool
	for range 3 {
		r := p.Get()
		if err := Decode([]byte(whole), r); err != nil {
			t.Fatal(err)
		}
		if len(r.Records) != 3 || r.Records[0].MeasureName != "m" {
			t.Errorf("got %+v", r)
		}
		if err := Decode([]byte(`{"Records":[{},{}]}`), r); err != nil {
			t.Fatal(err)
		}
		if want := (Request{Records: []Record{{}, {}}}); !equal(r, &want) {
			t.Errorf("got %+v", r)
		}
		p.Put(r)
	}
}

func TestFromSDK(t *testing.T) {
	in := &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("db"), TableName: aws.String("t"),
		CommonAttributes: &wtypes.Record{Time: aws.String("5"), TimeUnit: "SECONDS", Dimensions: []wtypes.Dimension{{Name: aws.String("a"), Value: aws.String("1")}}},
		Records: []wtypes.Record{{MeasureName: aws.String("m"), MeasureValue: aws.String(""), MeasureValueType: "DOUBLE", Version: aws.Int64(0)},
			{MeasureValues: []wtypes.MeasureValue{{Name: aws.String("v"), Value: aws.String("1"), Type: "BIGINT"}}}}}
	want := Request{Database: "db", Table: "t",
		Common: Record{Dimensions: []Dimension{{"a", "1", ""}}, Time: "5", TimeUnit: "SECONDS", Has: Time | TimeUnit},
		Records: []Record{{MeasureName: "m", MeasureValueType: "DOUBLE", Has: MeasureName | MeasureValue | MeasureValueType | Version},
			{Attributes: []Attribute{{"v", "1", "BIGINT"}}}}}
	if got := FromSDK(in); !equal(got, &want) {
		t.Errorf("got %+v", got)
	}
}

// plain is the body as encoding/json reads it.
type plain struct {
	DatabaseName, TableName string
	CommonAttributes        plainRecord
	Records                 []plainRecord
}

type plainRecord struct {
	Dimensions    []struct{ Name, Value, DimensionValueType string }
	MeasureName   string
	MeasureValue  string
	MeasureValues []struct{ Name, Value, Type string }
}

// FuzzDecode compares the decoder with encoding/json: what it takes, that one takes too, and reads the same.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(`{"Records":[{"Dimensions":[{"Name":"\ud800","Value":"\ud800\u0041"}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var got Request
		if err := Decode(body, &got); err != nil {
			return
		}
		if !json.Valid(body) {
			t.Fatalf("took what is not JSON: %q", body)
		}
		if strings.Count(string(body), "DatabaseName")+strings.Count(string(body), "TableName") > 2 || hasFolded(body) {
			return // encoding/json matches names in any case
		}
		var want plain
		if err := json.Unmarshal(body, &want); err != nil {
			return // an integer too large, and the like
		}
		if got.Database != want.DatabaseName || got.Table != want.TableName || len(got.Records) != len(want.Records) {
			t.Fatalf("got %+v\nwant %+v", got, want)
		}
		for i := range got.Records {
			a, b := got.Records[i], want.Records[i]
			if a.MeasureName != b.MeasureName || a.MeasureValue != b.MeasureValue || len(a.Dimensions) != len(b.Dimensions) || len(a.Attributes) != len(b.MeasureValues) {
				t.Fatalf("record %d: got %+v\nwant %+v", i, a, b)
			}
			for k := range a.Dimensions {
				if d := b.Dimensions[k]; a.Dimensions[k] != (Dimension{d.Name, d.Value, d.DimensionValueType}) {
					t.Fatalf("record %d: got %+v\nwant %+v", i, a, b)
				}
			}
		}
	})
}

// hasFolded tells whether a member name may appear twice or in another case, where the two readers differ by intent.
func hasFolded(body []byte) bool {
	seen := map[string]bool{}
	d := json.NewDecoder(strings.NewReader(string(body)))
	for {
		tok, err := d.Token()
		if err != nil {
			return false
		}
		s, ok := tok.(string)
		if !ok {
			continue
		}
		for _, name := range []string{"DatabaseName", "TableName", "CommonAttributes", "Records", "Dimensions", "Name", "Value", "DimensionValueType", "MeasureName", "MeasureValue", "MeasureValues", "Type"} {
			if strings.EqualFold(s, name) {
				if s != name || seen[name] {
					return true
				}
				seen[name] = true
			}
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	var body strings.Builder
	body.WriteString(`{"CommonAttributes":{"Dimensions":[{"Name":"job","Value":"api"},{"Name":"instance","Value":"10.0.0.17:8080"}],"MeasureName":"up","Time":"1795262400000"},"DatabaseName":"db","Records":[`)
	for i := range 100 {
		if i > 0 {
			body.WriteByte(',')
		}
		body.WriteString(`{"Dimensions":[{"Name":"handler","Value":"/api/v1/resource"},{"Name":"code","Value":"200"},{"Name":"pod","Value":"api-7c9d8f6b5-x"}],"MeasureValue":"12345.75"}`)
	}
	body.WriteString(`],"TableName":"t"}`)
	in := []byte(body.String())
	var p Pool
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for range b.N {
		r := p.Get()
		if err := Decode(in, r); err != nil {
			b.Fatal(err)
		}
		p.Put(r)
	}
}
