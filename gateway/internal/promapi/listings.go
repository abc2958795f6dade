// SPDX-License-Identifier: Apache-2.0

package promapi

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/jsonutil"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
)

func (c *call) series() error {
	if err := c.req.ParseForm(); err != nil {
		return badData(fmt.Errorf("error parsing form values: %w", err))
	}
	if len(c.req.Form["match[]"]) == 0 {
		return badData(errors.New("no match[] parameter provided"))
	}
	scope, err := c.scope()
	if err != nil {
		return err
	}
	if scope.Selectors, err = c.selectors(); err != nil {
		return invalidParam("match[]", err)
	}
	stream, err := c.api.Query.Series(c.req.Context(), &queryv1.SeriesRequest{Scope: scope, CallerId: c.caller})
	if err != nil {
		return err
	}
	return listed(c, stream, "[", "]", func(m *queryv1.SeriesResponse) error {
		for _, set := range m.GetSeries().GetLabelSets() {
			c.more()
			c.json.WriteObjectStart()
			for i, l := range set.GetLabels() {
				if i > 0 {
					c.json.WriteMore()
				}
				c.json.WriteString(l.GetName())
				c.json.WriteRaw(":")
				c.json.WriteString(l.GetValue())
			}
			c.json.WriteObjectEnd()
			if err := c.grown(); err != nil {
				return err
			}
		}
		return nil
	})
}

// scope reads all but the selectors.
func (c *call) scope() (*queryv1.Scope, error) {
	limit, err := c.limit()
	if err != nil {
		return nil, err
	}
	start, end, err := c.bounds()
	if err != nil {
		return nil, err
	}
	return &queryv1.Scope{Limit: limit, StartMs: start, EndMs: end}, nil
}

// optionalScope reads a scope whose selectors may be missing.
func (c *call) optionalScope() (*queryv1.Scope, error) {
	scope, err := c.scope()
	if err != nil {
		return nil, err
	}
	if scope.Selectors, err = c.selectors(); err != nil {
		return nil, badData(err)
	}
	return scope, nil
}

func (c *call) labelNames() error {
	scope, err := c.optionalScope()
	if err != nil {
		return err
	}
	stream, err := c.api.Query.LabelNames(c.req.Context(), &queryv1.LabelNamesRequest{Scope: scope, CallerId: c.caller})
	if err != nil {
		return err
	}
	return listed(c, stream, "[", "]", func(m *queryv1.LabelNamesResponse) error { return c.names(m.GetNames()) })
}

func (c *call) labelValues() error {
	name := c.req.PathValue("name")
	if strings.HasPrefix(name, "U__") {
		name = model.UnescapeName(name, model.ValueEncodingEscaping)
	}
	if !model.UTF8Validation.IsValidLabelName(name) {
		return badData(fmt.Errorf("invalid label name: %q", name))
	}
	scope, err := c.optionalScope()
	if err != nil {
		return err
	}
	stream, err := c.api.Query.LabelValues(c.req.Context(), &queryv1.LabelValuesRequest{Name: name, Scope: scope, CallerId: c.caller})
	if err != nil {
		return err
	}
	return listed(c, stream, "[", "]", func(m *queryv1.LabelValuesResponse) error { return c.names(m.GetValues()) })
}

// names writes some elements of a list of texts.
func (c *call) names(n *queryv1.Names) error {
	for _, name := range n.GetNames() {
		c.more()
		c.text(name)
		if err := c.grown(); err != nil {
			return err
		}
	}
	return nil
}

func (c *call) metadata() error {
	req := &queryv1.MetadataRequest{CallerId: c.caller}
	limit, given, err := count(c.req, "limit")
	if err != nil {
		return err
	}
	if given && limit >= 0 {
		req.Limit = proto.Uint64(uint64(limit))
	}
	perMetric, _, err := count(c.req, "limit_per_metric")
	if err != nil {
		return err
	}
	if perMetric > 0 {
		req.LimitPerMetric = proto.Uint64(uint64(perMetric))
	}
	if req.Metric = c.req.FormValue("metric"); !utf8.ValidString(req.GetMetric()) {
		return invalidParam("metric", fmt.Errorf("%q is not UTF-8", req.GetMetric()))
	}
	stream, err := c.api.Query.Metadata(c.req.Context(), req)
	if err != nil {
		return err
	}
	return listed(c, stream, "{", "}", func(m *queryv1.MetadataResponse) error {
		if m.GetMetric() == nil {
			return nil
		}
		c.more()
		c.text(m.GetMetric().GetMetric())
		c.json.WriteRaw(":")
		c.json.WriteArrayStart()
		for i, e := range m.GetMetric().GetEntries() {
			if i > 0 {
				c.json.WriteMore()
			}
			c.json.WriteRaw(`{"type":`)
			c.text(e.GetType())
			c.json.WriteRaw(`,"help":`)
			c.text(e.GetHelp())
			c.json.WriteRaw(`,"unit":`)
			c.text(e.GetUnit())
			c.json.WriteObjectEnd()
		}
		c.json.WriteArrayEnd()
		return c.grown()
	})
}

func (c *call) queryExemplars() error {
	start, err := c.timeParam("start")
	if err != nil {
		return err
	}
	end, err := c.timeParam("end")
	if err != nil {
		return err
	}
	if start != nil && end != nil && end.Before(*start) {
		return badData(errors.New("end timestamp must not be before start timestamp"))
	}
	req := &queryv1.QueryExemplarsRequest{Query: c.req.FormValue("query"), CallerId: c.caller}
	expr, err := c.api.parse(req.GetQuery())
	if err != nil {
		return badData(err)
	}
	if !utf8.ValidString(req.GetQuery()) { // which messages cannot hold
		return badData(fmt.Errorf("%q is not UTF-8", req.GetQuery()))
	}
	if len(parser.ExtractSelectors(expr)) == 0 {
		c.empty = true
		return nil
	}
	if req.StartMs, req.EndMs, err = c.bounds(); err != nil {
		return err
	}
	stream, err := c.api.Query.QueryExemplars(c.req.Context(), req)
	if err != nil {
		return err
	}
	var ts prompb.TimeSeries
	return listed(c, stream, "[", "]", func(m *queryv1.QueryExemplarsResponse) error {
		if m.GetTimeSeries() == nil {
			return nil
		}
		if err := decode(m.GetTimeSeries(), &ts); err != nil {
			return err
		}
		c.more()
		return c.exemplars(&ts)
	})
}

// exemplars writes the exemplars of one series.
func (c *call) exemplars(ts *prompb.TimeSeries) error {
	c.json.WriteRaw(`{"seriesLabels":`)
	c.labels(ts.Labels)
	c.json.WriteRaw(`,"exemplars":[`)
	for i, e := range ts.Exemplars {
		if i > 0 {
			c.json.WriteMore()
		}
		c.json.WriteRaw(`{"labels":`)
		c.labels(e.Labels)
		c.json.WriteRaw(`,"value":`)
		jsonutil.MarshalFloat(e.Value, c.json)
		c.json.WriteRaw(`,"timestamp":`)
		jsonutil.MarshalTimestamp(e.Timestamp, c.json)
		c.json.WriteObjectEnd()
		if err := c.grown(); err != nil {
			return err
		}
	}
	c.json.WriteRaw("]}")
	return c.grown()
}

// listing is a message of any listing.
type listing interface {
	GetTrailer() *queryv1.ListTrailer
}

// listed writes a listing as it comes; part writes what a message adds to it.
func listed[M any, P interface {
	*M
	listing
}](c *call, stream grpc.ServerStreamingClient[M], open, shut string, part func(P) error) error {
	c.begin()
	c.json.WriteRaw(open)
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return errNoTrailer
		}
		if err != nil {
			return err
		}
		if t := P(m).GetTrailer(); t != nil {
			c.json.WriteRaw(shut)
			c.end(t.GetWarnings(), nil)
			return nil
		}
		if err := part(m); err != nil {
			return err
		}
	}
}
