// SPDX-License-Identifier: Apache-2.0

package otlp

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// A parser makes some hundred bytes of a message of two, and one call deeper of each value within a value. So messages are
// looked over before they are parsed.

// maxDepth is how many values may lie within each other, by arrays and lists of pairs. Protocol buffer parsers refuse
// messages nested more than 100 deep, and such a value takes at least two levels ("Protocol Buffers, Encoding", recursion
// limits of the official implementations).
const maxDepth = 32

// What is accepted for each sample that is.
const (
	holdersPerSample = 4  // resources, scopes, metrics, data points, exemplars, quantiles
	entriesPerSample = 20 // attributes, values, bucket counts
	objectsPerSample = 10 // objects of JSON: holders, and two for each attribute
)

// bounds counts what a message has.
type bounds struct {
	samples                  int // Options.MaxSamples
	points, holders, entries int
	counts, objects          int // bucket counts, which are among the entries, and objects of JSON
}

// What the parser's structures take, with those that they point to and what its slices have to spare.
const (
	holderBytes = 150
	entryBytes  = 60 // an attribute is two: the pair and its value
	countBytes  = 32 // with what the translator makes of it
	objectBytes = 120
	fieldBytes  = 32
)

// bytes is about what the parsed message takes, its text not counted.
func (b *bounds) bytes() int {
	if b.objects > 0 {
		return b.objects*objectBytes + b.entries*fieldBytes
	}
	return b.holders*holderBytes + (b.entries-b.counts)*entryBytes + b.counts*countBytes
}

func (b *bounds) tooMany(what string, limit int) error {
	return fmt.Errorf("%w: more than %d %s", ErrTooMany, limit, what)
}

func (b *bounds) within() error {
	switch {
	case b.points > b.samples:
		return b.tooMany("data points", b.samples)
	case b.holders > holdersPerSample*b.samples:
		return b.tooMany("resources, scopes, metrics, data points and exemplars", holdersPerSample*b.samples)
	case b.entries > entriesPerSample*b.samples:
		return b.tooMany("attributes and bucket counts", entriesPerSample*b.samples)
	}
	return nil
}

var errDepth = fmt.Errorf("%w: attribute values nested more than %d deep", ErrCorrupt, maxDepth)

// message is a type of message of the protocol (opentelemetry-proto, metrics/v1, common/v1 and resource/v1).
type message uint8

const (
	other message = iota // anything without a bound of its own
	requestMessage
	resourceMetrics
	resource
	entityRef
	scopeMetrics
	scope
	metric
	numbers          // Gauge, Sum
	histograms       // Histogram
	exponentials     // ExponentialHistogram
	summaries        // Summary
	numberPoint      // NumberDataPoint
	histogramPoint   // HistogramDataPoint
	exponentialPoint // ExponentialHistogramDataPoint
	summaryPoint     // SummaryDataPoint
	quantile
	buckets
	exemplar
	pair
	anyValue
	array
	pairs
	count // packed numbers
	text  // repeated strings
)

// field returns what a field of a message is.
func field(in message, n protowire.Number) message {
	is := func(m message, numbers ...protowire.Number) message {
		for _, x := range numbers {
			if x == n {
				return m
			}
		}
		return other
	}
	switch in {
	case requestMessage:
		return is(resourceMetrics, 1)
	case resourceMetrics:
		return max(is(resource, 1), is(scopeMetrics, 2))
	case resource:
		return max(is(pair, 1), is(entityRef, 3))
	case entityRef:
		return is(text, 3, 4)
	case scopeMetrics:
		return max(is(scope, 1), is(metric, 2))
	case scope:
		return is(pair, 3)
	case metric:
		return max(is(numbers, 5, 7), is(histograms, 9), is(exponentials, 10), is(summaries, 11), is(pair, 12))
	case numbers:
		return is(numberPoint, 1)
	case histograms:
		return is(histogramPoint, 1)
	case exponentials:
		return is(exponentialPoint, 1)
	case summaries:
		return is(summaryPoint, 1)
	case numberPoint:
		return max(is(pair, 7), is(exemplar, 5))
	case histogramPoint:
		return max(is(pair, 9), is(exemplar, 8)) // its numbers have eight bytes each
	case exponentialPoint:
		return max(is(pair, 1), is(exemplar, 11), is(buckets, 8, 9))
	case summaryPoint:
		return max(is(pair, 7), is(quantile, 6))
	case buckets:
		return is(count, 2)
	case exemplar:
		return is(pair, 7)
	case pair:
		return is(anyValue, 2)
	case anyValue:
		return max(is(array, 5), is(pairs, 6))
	case array:
		return is(anyValue, 1)
	case pairs:
		return is(pair, 1)
	default:
		return other
	}
}

// scanProtobuf looks over a whole message in protocol buffer encoding.
func (b *bounds) scanProtobuf(m []byte) error { return b.protobuf(requestMessage, m, 0) }

// protobuf looks over a message in protocol buffer encoding.
func (b *bounds) protobuf(in message, m []byte, depth int) error {
	for len(m) > 0 {
		number, wire, n := protowire.ConsumeTag(m)
		if n < 0 {
			return corrupt(protowire.ParseError(n))
		}
		m = m[n:]
		if wire != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, wire, m); n < 0 {
				return corrupt(protowire.ParseError(n))
			}
			m = m[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(m)
		if n < 0 {
			return corrupt(protowire.ParseError(n))
		}
		m = m[n:]
		f := field(in, number)
		switch f {
		case other:
			continue
		case count:
			for _, x := range value {
				if x < 0x80 { // the last byte of a number
					b.entries++
					b.counts++
				}
			}
		case text, pair, anyValue, array, pairs:
			b.entries++
		case numberPoint, histogramPoint, exponentialPoint, summaryPoint:
			b.points++
			b.holders++
		default:
			b.holders++
		}
		if err := b.within(); err != nil {
			return err
		}
		if f == count || f == text {
			continue
		}
		within := depth
		if f == anyValue {
			if within++; within > maxDepth {
				return errDepth
			}
		}
		if err := b.protobuf(f, value, within); err != nil {
			return err
		}
	}
	return nil
}

// json looks over a message in JSON. Whether it is JSON at all is found by the parser.
func (b *bounds) json(m []byte) error {
	// A value within a value takes four levels at most, and an attribute of an exemplar lies within sixteen.
	const levels = 4*maxDepth + 16
	depth := 0
	quoted := false
	for i := 0; i < len(m); i++ {
		c := m[i]
		if quoted {
			switch c {
			case '\\':
				i++
			case '"':
				quoted = false
			}
			continue
		}
		switch c {
		case '"':
			quoted = true
		case '{', '[':
			if depth++; depth > levels {
				return errDepth
			}
			if c == '{' {
				b.objects++
			}
		case '}', ']':
			depth--
		case ',':
			b.entries++
		}
		if b.objects > objectsPerSample*b.samples {
			return b.tooMany("objects", objectsPerSample*b.samples)
		}
		if b.entries > entriesPerSample*b.samples {
			return b.tooMany("fields and elements", entriesPerSample*b.samples)
		}
	}
	if quoted {
		return corrupt(errors.New("a string does not end"))
	}
	return nil
}
