// SPDX-License-Identifier: Apache-2.0

package promapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/util/jsonutil"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
)

// maxPoints is how many steps Prometheus lets a range query have.
const maxPoints = 11000

func (c *call) query() error {
	limit, err := c.limit()
	if err != nil {
		return err
	}
	req := &queryv1.QueryRequest{CallerId: c.caller}
	at, err := c.timeParam("time")
	if err != nil {
		return err
	}
	if at != nil {
		ms, err := evaluable("time", *at)
		if err != nil {
			return err
		}
		req.TimeMs = proto.Int64(ms)
	}
	if req.Options, err = c.options(limit); err != nil {
		return err
	}
	if req.Query, err = c.expression(); err != nil {
		return err
	}
	stream, err := c.api.Query.Query(c.req.Context(), req)
	if err != nil {
		return ofQuery(err)
	}
	return evaluated(c, stream, req.GetOptions())
}

func (c *call) queryRange() error {
	limit, err := c.limit()
	if err != nil {
		return err
	}
	start, err := parseTime(c.req.FormValue("start"))
	if err != nil {
		return invalidParam("start", err)
	}
	end, err := parseTime(c.req.FormValue("end"))
	if err != nil {
		return invalidParam("end", err)
	}
	if end.Before(start) {
		return invalidParam("end", errors.New("end timestamp must not be before start time"))
	}
	step, err := parseDuration(c.req.FormValue("step"))
	if err != nil {
		return invalidParam("step", err)
	}
	if step < time.Millisecond { // evaluations are a millisecond apart at least
		return invalidParam("step", errors.New("zero or negative query resolution step widths are not accepted. Try a positive integer"))
	}
	if end.Sub(start)/step > maxPoints {
		return badData(errors.New("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"))
	}
	req := &queryv1.QueryRangeRequest{StepMs: step.Milliseconds(), CallerId: c.caller}
	if req.StartMs, err = evaluable("start", start); err != nil {
		return err
	}
	if req.EndMs, err = evaluable("end", end); err != nil {
		return err
	}
	if req.Options, err = c.options(limit); err != nil {
		return err
	}
	if req.Query, err = c.expression(); err != nil {
		return err
	}
	stream, err := c.api.Query.QueryRange(c.req.Context(), req)
	if err != nil {
		return ofQuery(err)
	}
	return evaluated(c, stream, req.GetOptions())
}

// evaluation is a message of either kind of query.
type evaluation interface {
	GetHeader() *queryv1.QueryHeader
	GetSeries() *queryv1.QuerySeries
	GetTrailer() *queryv1.QueryTrailer
}

// value is a message that may be a value without series.
type value interface {
	GetScalar() *queryv1.ScalarValue
	GetString_() *queryv1.StringValue
}

// evaluated writes the result of an expression as it comes.
func evaluated[M any, P interface {
	*M
	evaluation
}](c *call, stream grpc.ServerStreamingClient[M], options *queryv1.QueryOptions) error {
	out := evaluatedWriter{call: c}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return errNoTrailer
		}
		if err != nil {
			return ofQuery(err)
		}
		p := P(m)
		switch {
		case p.GetHeader() != nil:
			err = out.header(p.GetHeader().GetValueType())
		case p.GetTrailer() != nil:
			return out.trailer(p.GetTrailer(), options.GetStats())
		case p.GetSeries() != nil:
			err = out.some(p.GetSeries().GetTimeSeries())
		default:
			if v, ok := any(p).(value); ok {
				err = out.value(v)
			}
		}
		if err != nil {
			return err
		}
	}
}

// errNoTrailer is that a stream of the query service ended early without saying so.
var errNoTrailer = errors.New("the query service ended the result before its trailer")

// evaluatedWriter writes a promql.Result.
type evaluatedWriter struct {
	*call
	kind   queryv1.ValueType
	series prompb.TimeSeries // for the memory
}

func (o *evaluatedWriter) header(t queryv1.ValueType) error {
	var name string
	switch t {
	case queryv1.ValueType_VALUE_TYPE_SCALAR:
		name = "scalar"
	case queryv1.ValueType_VALUE_TYPE_STRING:
		name = "string"
	case queryv1.ValueType_VALUE_TYPE_VECTOR:
		name = "vector"
	case queryv1.ValueType_VALUE_TYPE_MATRIX:
		name = "matrix"
	default:
		return fmt.Errorf("the query service sends a value of the unknown type %v", t)
	}
	o.kind = t
	o.begin()
	o.json.WriteRaw(`{"resultType":"` + name + `","result":`)
	if o.isList() {
		o.json.WriteArrayStart()
	}
	return nil
}

func (o *evaluatedWriter) isList() bool {
	return o.kind == queryv1.ValueType_VALUE_TYPE_VECTOR || o.kind == queryv1.ValueType_VALUE_TYPE_MATRIX
}

// some writes some series of a vector or a matrix.
func (o *evaluatedWriter) some(series [][]byte) error {
	if !o.isList() {
		return fmt.Errorf("the query service sends series for a value of type %v", o.kind)
	}
	for _, raw := range series {
		if err := decode(raw, &o.series); err != nil {
			return err
		}
		o.more()
		var err error
		if o.kind == queryv1.ValueType_VALUE_TYPE_VECTOR {
			err = o.sample()
		} else {
			err = o.points()
		}
		if err != nil {
			return err
		}
		if err := o.grown(); err != nil {
			return err
		}
	}
	return nil
}

// decode decodes a series into the memory of the one before.
func decode(raw []byte, ts *prompb.TimeSeries) error {
	ts.Labels, ts.Samples, ts.Exemplars, ts.Histograms = ts.Labels[:0], ts.Samples[:0], ts.Exemplars[:0], ts.Histograms[:0]
	if err := ts.Unmarshal(raw); err != nil {
		return fmt.Errorf("the query service sends what is no prometheus.TimeSeries: %w", err)
	}
	return nil
}

// sample writes the one sample of an element of a vector.
func (o *evaluatedWriter) sample() error {
	ts := &o.series
	if len(ts.Samples)+len(ts.Histograms) != 1 {
		return fmt.Errorf("the query service sends %d samples in an element of a vector", len(ts.Samples)+len(ts.Histograms))
	}
	o.json.WriteObjectStart()
	o.json.WriteObjectField("metric")
	o.labels(ts.Labels)
	o.json.WriteMore()
	if len(ts.Samples) == 1 {
		o.json.WriteObjectField("value")
		o.float(ts.Samples[0])
	} else {
		o.json.WriteObjectField("histogram")
		o.histogram(&ts.Histograms[0])
	}
	o.json.WriteObjectEnd()
	return nil
}

// points writes a series of a matrix: floats first, as Prometheus does.
func (o *evaluatedWriter) points() error {
	o.json.WriteObjectStart()
	o.json.WriteObjectField("metric")
	o.labels(o.series.Labels)
	for i, p := range o.series.Samples {
		o.json.WriteMore()
		if i == 0 {
			o.json.WriteObjectField("values")
			o.json.WriteArrayStart()
		}
		o.float(p)
	}
	if len(o.series.Samples) > 0 {
		o.json.WriteArrayEnd()
	}
	for i := range o.series.Histograms {
		o.json.WriteMore()
		if i == 0 {
			o.json.WriteObjectField("histograms")
			o.json.WriteArrayStart()
		}
		o.histogram(&o.series.Histograms[i])
		if err := o.grown(); err != nil { // a histogram may be as large as a series of floats
			return err
		}
	}
	if len(o.series.Histograms) > 0 {
		o.json.WriteArrayEnd()
	}
	o.json.WriteObjectEnd()
	return nil
}

func (o *evaluatedWriter) float(p prompb.Sample) {
	o.json.WriteArrayStart()
	jsonutil.MarshalTimestamp(p.Timestamp, o.json)
	o.json.WriteMore()
	jsonutil.MarshalFloat(p.Value, o.json)
	o.json.WriteArrayEnd()
}

func (o *evaluatedWriter) histogram(h *prompb.Histogram) {
	o.json.WriteArrayStart()
	jsonutil.MarshalTimestamp(h.Timestamp, o.json)
	o.json.WriteMore()
	jsonutil.MarshalHistogram(h.ToFloatHistogram(), o.json)
	o.json.WriteArrayEnd()
}

// labels writes labels. Unlike other texts they come without the escapes for HTML.
func (a *answer) labels(ls []prompb.Label) {
	a.json.WriteObjectStart()
	for i, l := range ls {
		if i > 0 {
			a.json.WriteMore()
		}
		a.json.WriteString(l.Name)
		a.json.WriteRaw(":")
		a.json.WriteString(l.Value)
	}
	a.json.WriteObjectEnd()
}

// value writes a scalar or a string.
func (o *evaluatedWriter) value(v value) error {
	var ms int64
	var text string
	switch s, t := v.GetScalar(), v.GetString_(); {
	case s != nil && o.kind == queryv1.ValueType_VALUE_TYPE_SCALAR:
		ms, text = s.GetTimeMs(), strconv.FormatFloat(s.GetValue(), 'f', -1, 64) // unlike samples without exponents
	case t != nil && o.kind == queryv1.ValueType_VALUE_TYPE_STRING:
		ms, text = t.GetTimeMs(), t.GetValue()
	default:
		return fmt.Errorf("the query service sends a part that does not belong to a value of type %v", o.kind)
	}
	o.list = true // there is a value
	raw, err := json.Marshal([...]any{float64(ms) / 1000, text})
	if err != nil {
		return fmt.Errorf("write a value: %w", err)
	}
	_, err = o.json.Write(raw)
	return err
}

func (o *evaluatedWriter) trailer(t *queryv1.QueryTrailer, level queryv1.QueryStatsLevel) error {
	switch {
	case o.isList():
		o.json.WriteArrayEnd()
	case !o.list:
		return errors.New("the query service ended the result without a value")
	}
	if level != queryv1.QueryStatsLevel_QUERY_STATS_LEVEL_UNSPECIFIED {
		o.json.WriteMore()
		o.json.WriteObjectField("stats")
		o.json.WriteVal(newStats(t.GetStats()))
	}
	o.json.WriteObjectEnd()
	o.end(t.GetWarnings(), t.GetInfos())
	return nil
}

// queryStats has the members of Prometheus' stats.BuiltinStats.
type queryStats struct {
	Timings timingStats `json:"timings"`
	Samples sampleStats `json:"samples"`
}

type timingStats struct {
	EvalTotalTime        float64 `json:"evalTotalTime"`
	ResultSortTime       float64 `json:"resultSortTime"`
	QueryPreparationTime float64 `json:"queryPreparationTime"`
	InnerEvalTime        float64 `json:"innerEvalTime"`
	ExecQueueTime        float64 `json:"execQueueTime"`
	ExecTotalTime        float64 `json:"execTotalTime"`
}

type sampleStats struct {
	TotalQueryableSamplesPerStep []stepStat `json:"totalQueryableSamplesPerStep,omitempty"`
	TotalQueryableSamples        int64      `json:"totalQueryableSamples"`
	SamplesReadPerStep           []stepStat `json:"samplesReadPerStep,omitempty"`
	SamplesRead                  int64      `json:"samplesRead"`
	PeakSamples                  int64      `json:"peakSamples"`
}

// stepStat is the samples of one step: [seconds, samples].
type stepStat struct{ timeMs, samples int64 }

// MarshalJSON implements json.Marshaler.
func (s stepStat) MarshalJSON() ([]byte, error) {
	return json.Marshal([...]any{float64(s.timeMs) / 1000, s.samples})
}

func steps(in []*queryv1.StepSamples) []stepStat {
	out := make([]stepStat, len(in))
	for i, s := range in {
		out[i] = stepStat{s.GetTimeMs(), s.GetSamples()}
	}
	return out
}

func newStats(s *queryv1.QueryStats) queryStats {
	t := s.GetTimingsSeconds()
	return queryStats{
		Timings: timingStats{
			EvalTotalTime:        t["evalTotalTime"],
			ResultSortTime:       t["resultSortTime"],
			QueryPreparationTime: t["queryPreparationTime"],
			InnerEvalTime:        t["innerEvalTime"],
			ExecQueueTime:        t["execQueueTime"],
			ExecTotalTime:        t["execTotalTime"],
		},
		Samples: sampleStats{
			TotalQueryableSamplesPerStep: steps(s.GetTotalQueryableSamplesPerStep()),
			TotalQueryableSamples:        s.GetTotalQueryableSamples(),
			SamplesReadPerStep:           steps(s.GetSamplesReadPerStep()),
			SamplesRead:                  s.GetSamplesRead(),
			PeakSamples:                  s.GetPeakSamples(),
		},
	}
}
