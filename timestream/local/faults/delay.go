// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// shape is how delays are distributed.
type shape uint8

const (
	uniform   shape = iota // from a to b; one value when they are equal
	logNormal              // with the median a and the 99th percentile b
	normal                 // with the mean a and the standard deviation b
	pareto                 // from a, with the tail index
)

// delay is a distribution of delays, for a share of the calls.
type delay struct {
	share float64
	shape shape
	a, b  time.Duration
	index float64
	// most bounds what is drawn; zero: maxDelay.
	most time.Duration
}

// maxDelay bounds every delay.
const maxDelay = 10 * time.Minute

// z99 is the 99th percentile of the standard normal distribution.
const z99 = 2.3263478740408408

func (d *delay) none() bool {
	return d.share == 0 || d.a == 0 && d.b == 0
}

// at returns the delay of which a share u in [0, 1) is shorter.
func (d *delay) at(u float64) time.Duration {
	x := float64(d.a)
	switch d.shape {
	case uniform:
		x += u * float64(d.b-d.a)
	case normal:
		x += float64(d.b) * quantile(u)
	case logNormal:
		x *= math.Pow(float64(d.b)/float64(d.a), quantile(u)/z99)
	case pareto:
		x /= math.Pow(1-u, 1/d.index)
	}
	most := d.most
	if most == 0 {
		most = maxDelay
	}
	return time.Duration(min(max(x, 0), float64(most)))
}

// quantile is the inverse of the standard normal distribution.
func quantile(u float64) float64 { return math.Sqrt2 * math.Erfinv(2*u-1) }

var (
	errDelay = errors.New("want a duration such as 20ms, a range 20ms..80ms, p50:20ms/p99:400ms, normal:20ms/5ms (mean and deviation) or pareto:20ms/1.5 " +
		"(the least and the tail index), each perhaps with /5s for the longest, and with 1%: before it for a share of the calls")
	errRange = errors.New("want two durations such as 20ms..80ms, the shorter one first")
)

func parseDelay(text string) (delay, error) {
	d := delay{share: 1}
	if share, rest, ok := strings.Cut(text, ":"); ok {
		if p, err := parsePoint(share, 1); err == nil {
			d.share, text = p, rest
		}
	}
	parts := strings.Split(text, "/")
	next := func(prefix string) (time.Duration, error) {
		if len(parts) == 0 {
			return 0, errDelay
		}
		part, ok := strings.CutPrefix(parts[0], prefix)
		v, err := time.ParseDuration(part)
		if !ok || err != nil || v < 0 || v > maxDelay {
			if err == nil && v > maxDelay {
				return 0, fmt.Errorf("%s is longer than %v", part, maxDelay)
			}
			return 0, errDelay
		}
		parts = parts[1:]
		return v, nil
	}
	var err1, err2 error
	switch {
	case strings.HasPrefix(text, "p50:"):
		d.shape = logNormal
		d.a, err1 = next("p50:")
		if d.b, err2 = next("p99:"); err1 == nil && err2 == nil && (d.a == 0 || d.b < d.a) {
			return d, errors.New("want a median above 0 and a 99th percentile not below it")
		}
	case strings.HasPrefix(text, "normal:"):
		d.shape = normal
		d.a, err1 = next("normal:")
		d.b, err2 = next("")
	case strings.HasPrefix(text, "pareto:"):
		d.shape = pareto
		d.a, err1 = next("pareto:")
		if len(parts) == 0 {
			return d, errDelay
		}
		if d.index, err2 = strconv.ParseFloat(parts[0], 64); err2 != nil || !(d.index >= 0.1 && d.index <= 100) {
			return d, errors.New("want a tail index from 0.1, a very heavy tail, to 100")
		}
		parts = parts[1:]
	default:
		lo, hi, isRange := strings.Cut(parts[0], "..")
		if !isRange {
			hi = lo
		}
		if d.a, err1 = time.ParseDuration(lo); err1 != nil {
			return d, errDelay
		}
		if d.b, err2 = time.ParseDuration(hi); err2 != nil || d.a < 0 || d.b < d.a {
			return d, errRange
		}
		if d.b > maxDelay {
			return d, fmt.Errorf("%s is longer than %v", hi, maxDelay)
		}
		parts = parts[1:]
	}
	if err := errors.Join(err1, err2); err != nil {
		return d, errDelay
	}
	if len(parts) > 0 && d.shape != uniform {
		var err error
		if d.most, err = next(""); err != nil || d.most == 0 {
			return d, errDelay
		}
	}
	if len(parts) > 0 {
		return d, errDelay
	}
	return d, nil
}

func (d *delay) String() string {
	if d.none() {
		return "0s"
	}
	var s string
	switch d.shape {
	case uniform:
		s = d.a.String()
		if d.b != d.a {
			s += ".." + d.b.String()
		}
	case logNormal:
		s = "p50:" + d.a.String() + "/p99:" + d.b.String()
	case normal:
		s = "normal:" + d.a.String() + "/" + d.b.String()
	case pareto:
		s = "pareto:" + d.a.String() + "/" + number(d.index)
	}
	if d.most > 0 {
		s += "/" + d.most.String()
	}
	if d.share < 1 {
		s = number(d.share) + ":" + s
	}
	return s
}
