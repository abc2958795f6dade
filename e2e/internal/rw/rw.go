// SPDX-License-Identifier: Apache-2.0

// Package rw writes remote write requests by hand, well formed or not, and posts them. The generated code of prompb will
// not do: it cannot write references that lead nowhere, or fields of release candidates, and it leaves out a
// value of -0.
package rw

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/protobuf/encoding/protowire"
)

// Protocol is a version of remote write.
type Protocol int

// The versions of remote write.
const (
	V1 Protocol = 1
	V2 Protocol = 2
)

// String returns the name of the version.
func (p Protocol) String() string { return fmt.Sprintf("remote write %d.0", int(p)) }

// ContentType is what requests of this version say about themselves.
func (p Protocol) ContentType() string {
	if p == V2 {
		return "application/x-protobuf;proto=io.prometheus.write.v2.Request"
	}
	return "application/x-protobuf"
}

// Label is one label. Neither its name nor its value need be valid.
type Label struct{ Name, Value string }

// Sample is one float sample; StartMs is only in 2.0.
type Sample struct {
	TimeMs  int64
	Value   float64
	StartMs int64
}

// Series is one entry of a request. Labels go out in the order given.
type Series struct {
	Labels  []Label
	Samples []Sample
	// Histograms, Exemplars and Metadata are encoded messages; Metadata goes out in 2.0 only.
	Histograms, Exemplars [][]byte
	Metadata              []byte
	// CreatedMs is the field 6 of release candidate 3 of 2.0.
	CreatedMs int64
	// Refs takes the place of the references to Labels in 2.0, when it is not nil.
	Refs []uint64
	// SpreadRefs writes the references of 2.0 one by one instead of packed.
	SpreadRefs bool
}

// New returns a series of these labels in order of their names, which come in pairs of name and value.
func New(pairs ...string) Series { return Of(labels.FromStrings(pairs...)) }

// Raw returns a series of these labels as they are: pairs of name and value, in any order, more than once, and invalid.
func Raw(pairs ...string) Series {
	var s Series
	for i := 0; i < len(pairs); i += 2 {
		s.Labels = append(s.Labels, Label{pairs[i], pairs[i+1]})
	}
	return s
}

// Of returns a series of these labels.
func Of(ls labels.Labels) Series {
	var s Series
	ls.Range(func(l labels.Label) { s.Labels = append(s.Labels, Label(l)) })
	return s
}

// At returns the series with one more sample.
func (s Series) At(timeMs int64, value float64) Series {
	s.Samples = append(s.Samples[:len(s.Samples):len(s.Samples)], Sample{TimeMs: timeMs, Value: value})
	return s
}

// Request is a request; Metadata are encoded messages and go out in 1.0 only.
type Request struct {
	Series   []Series
	Metadata [][]byte
}

// Encode returns the message, not compressed.
func (r Request) Encode(p Protocol) []byte {
	if p == V2 {
		return r.encodeV2()
	}
	var out []byte
	for _, s := range r.Series {
		var b []byte
		for _, l := range s.Labels {
			b = field(b, 1, field(field(nil, 1, []byte(l.Name)), 2, []byte(l.Value)))
		}
		for _, x := range s.Samples {
			b = field(b, 2, sample(x, false))
		}
		b = fields(b, 3, s.Exemplars)
		b = fields(b, 4, s.Histograms)
		out = field(out, 1, b)
	}
	return fields(out, 3, r.Metadata)
}

func (r Request) encodeV2() []byte {
	var symbols, series []byte
	known := map[string]uint64{}
	ref := func(s string) uint64 {
		n, ok := known[s]
		if !ok {
			n = uint64(len(known))
			known[s] = n
			symbols = field(symbols, 4, []byte(s))
		}
		return n
	}
	ref("") // the first symbol is the empty string
	for _, s := range r.Series {
		refs := s.Refs
		if refs == nil {
			for _, l := range s.Labels {
				refs = append(refs, ref(l.Name), ref(l.Value))
			}
		}
		var b, packed []byte
		for _, n := range refs {
			if s.SpreadRefs {
				b = number(b, 1, n)
			}
			packed = protowire.AppendVarint(packed, n)
		}
		if !s.SpreadRefs && len(packed) > 0 {
			b = field(b, 1, packed)
		}
		for _, x := range s.Samples {
			b = field(b, 2, sample(x, true))
		}
		b = fields(b, 3, s.Histograms)
		b = fields(b, 4, s.Exemplars)
		if s.Metadata != nil {
			b = field(b, 5, s.Metadata)
		}
		if s.CreatedMs != 0 {
			b = number(b, 6, uint64(s.CreatedMs))
		}
		series = field(series, 5, b)
	}
	return append(symbols, series...)
}

func sample(x Sample, start bool) []byte {
	b := protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), math.Float64bits(x.Value))
	b = number(b, 2, uint64(x.TimeMs))
	if start && x.StartMs != 0 {
		b = number(b, 3, uint64(x.StartMs))
	}
	return b
}

func field(b []byte, n protowire.Number, content []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), content)
}

func fields(b []byte, n protowire.Number, contents [][]byte) []byte {
	for _, c := range contents {
		b = field(b, n, c)
	}
	return b
}

func number(b []byte, n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

// Answer is the answer to a request.
type Answer struct {
	Status int
	Header http.Header
	Text   string
}

// Written returns the counts of samples, histograms and exemplars that a 2.0 answer says were written; the words are "-"
// where it has no such header.
func (a Answer) Written() string {
	var out []string
	for _, kind := range []string{"Samples", "Histograms", "Exemplars"} {
		n := "-"
		if v := a.Header.Values("X-Prometheus-Remote-Write-" + kind + "-Written"); len(v) == 1 {
			if _, err := strconv.ParseUint(v[0], 10, 64); err == nil {
				n = v[0]
			}
		}
		out = append(out, n)
	}
	return strings.Join(out, " ")
}

// Write sends a request as Prometheus does.
func Write(ctx context.Context, url string, p Protocol, series ...Series) (Answer, error) {
	return Post(ctx, url, p.ContentType(), snappy.Encode(nil, Request{Series: series}.Encode(p)))
}

// Post sends a body of this type and the encoding snappy.
func Post(ctx context.Context, url, contentType string, body []byte) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Content-Encoding", "snappy")
	return Do(req)
}

// timeout is longer than any answer takes.
const timeout = time.Minute

// Do sends a request.
func Do(req *http.Request) (Answer, error) {
	res, err := (&http.Client{Timeout: timeout}).Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return Answer{Status: res.StatusCode, Header: res.Header, Text: string(text)}, err
}
