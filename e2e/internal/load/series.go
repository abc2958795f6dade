// SPDX-License-Identifier: Apache-2.0

// Package load makes the load of tests and benchmarks: a fixed set of realistic series whose values follow from series
// and timestamp alone, requests of remote write 1.0 and 2.0 made from it at little cost, senders that retry as
// Prometheus does and remember what was acknowledged, and a check by remote read that all of it can be read back.
// Starting the system under test, and saying what its figures mean, is left to the callers.
package load

import (
	"fmt"
	"math"
	"sort"
	"strconv"
)

// Label is one label of a series.
type Label struct{ Name, Value string }

// family is a metric that every target exposes: one series for each combination of the labels' values.
type family struct {
	name   string
	kind   kind
	labels []familyLabel
}

type familyLabel struct {
	name   string
	values []string
}

// kind says how the values of a family move.
type kind int

const (
	counter kind = iota // whole numbers that grow
	seconds             // fractions with all their digits that grow, as sums of durations do
	size                // multiples of the page size that go up and down
	gauge               // small whole numbers that go up and down
	ratio               // fractions between 0 and 1
)

// A target is labelled by targetLabels; with the metric's name these are eight labels. Families add up to six of their
// own, so that a series has 8 to 14: what Kubernetes service discovery and common exporters make.
var families = []family{
	{"up", gauge, nil},
	{"scrape_duration_seconds", ratio, nil},
	{"go_goroutines", gauge, nil},
	{"process_resident_memory_bytes", size, nil},
	{"process_cpu_seconds_total", seconds, nil},
	{"http_requests_total", counter, []familyLabel{
		{"method", []string{"GET", "POST"}}, {"code", []string{"200", "404", "500"}}, {"handler", []string{"/api/v1/orders", "/api/v1/orders/{id}", "/healthz"}},
	}},
	{"http_request_duration_seconds_bucket", counter, []familyLabel{
		{"method", []string{"GET", "POST"}}, {"handler", []string{"/api/v1/orders", "/api/v1/orders/{id}"}},
		{"le", []string{"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"}},
	}},
	{"http_request_duration_seconds_sum", seconds, []familyLabel{
		{"method", []string{"GET", "POST"}}, {"handler", []string{"/api/v1/orders", "/api/v1/orders/{id}"}},
	}},
	{"rpc_latency_seconds", ratio, []familyLabel{
		{"rpc_service", []string{"shop.v1.OrderService"}}, {"rpc_method", []string{"Get", "List", "Put"}}, {"quantile", []string{"0.5", "0.9", "0.99"}},
	}},
	{"container_network_receive_bytes_total", counter, []familyLabel{{"interface", []string{"eth0", "lo"}}}},
	{"container_fs_usage_bytes", size, []familyLabel{
		{"device", []string{"/dev/nvme0n1p1", "/dev/nvme1n1"}}, {"fstype", []string{"ext4"}}, {"mountpoint", []string{"/", "/var/lib/data"}},
	}},
	{"db_pool_connections", gauge, []familyLabel{
		{"db_system", []string{"postgresql"}}, {"db_name", []string{"orders", "stock"}}, {"db_role", []string{"primary", "replica"}},
		{"server_address", []string{"db.internal.example.com"}}, {"server_port", []string{"5432"}}, {"state", []string{"idle", "used"}},
	}},
}

// member is one series of a target: a family and its own labels.
type member struct {
	family *family
	labels []Label
}

// perTarget is what one target exposes.
var perTarget = expand(families)

func expand(families []family) []member {
	var out []member
	for f := range families {
		combinations := [][]Label{nil}
		for _, l := range families[f].labels {
			var next [][]Label
			for _, c := range combinations {
				for _, v := range l.values {
					next = append(next, append(c[:len(c):len(c)], Label{l.name, v}))
				}
			}
			combinations = next
		}
		for _, c := range combinations {
			out = append(out, member{&families[f], c})
		}
	}
	return out
}

// Set is a number of series, numbered from 0. The same run and number make the same series on every machine.
type Set struct {
	run string
	n   int
}

// NewSet returns n series. All carry the label cluster=run, so that a run reads back its own series only.
func NewSet(n int, run string) Set { return Set{run: run, n: n} }

// Len is the number of series.
func (s Set) Len() int { return s.n }

// Run is the value of the label cluster.
func (s Set) Run() string { return s.run }

// Labels returns the labels of series i, sorted by name, 8 to 14 of them, the metric's name included.
func (s Set) Labels(i int) []Label {
	target, m := i/len(perTarget), perTarget[i%len(perTarget)]
	service := target / 5 % 20
	labels := append([]Label{
		{"__name__", m.family.name},
		{"cluster", s.run},
		{"container", fmt.Sprintf("service-%02d", service)},
		{"instance", fmt.Sprintf("10.%d.%d.%d:8080", 32+target>>16, target>>8&255, target&255)},
		{"job", fmt.Sprintf("shop/service-%02d", service)},
		{"namespace", "shop"},
		{"node", fmt.Sprintf("ip-10-0-0-%d.eu-west-1.compute.internal", target%50)},
		{"pod", fmt.Sprintf("service-%02d-%08x-%05x", service, uint32(mix(uint64(service))), mix(uint64(target))&0xfffff)},
	}, m.labels...)
	sort.Slice(labels, func(a, b int) bool { return labels[a].Name < labels[b].Name })
	return labels
}

// Name returns the metric's name of series i.
func (s Set) Name(i int) string { return perTarget[i%len(perTarget)].family.name }

// Value returns the value of series i at a timestamp in milliseconds. It depends on nothing else, so what was written
// needs no memory.
func (s Set) Value(i int, timestampMs int64) float64 {
	h := mix(uint64(i)<<1 | 1)
	noise := mix(h ^ uint64(timestampMs))
	// Counters started at some time in the thirty days before 2026 and grow by up to 1,000 a second.
	age := float64(timestampMs-1_767_225_600_000+int64(h%2_592_000_000)) / 1000
	switch perTarget[i%len(perTarget)].family.kind {
	case counter:
		return math.Floor(age * float64(1+h%1000))
	case seconds:
		return age*float64(1+h%1000)/1000 + float64(noise>>11)/(1<<53)/1e6
	case size:
		return float64((h%(1<<16) + noise%1024) * 4096)
	case ratio:
		return float64(noise>>11) / (1 << 53)
	default:
		return float64(h%100 + noise%10)
	}
}

// mix is the finaliser of SplitMix64: a cheap hash of an integer.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// key makes labels comparable.
func key(labels []Label) string {
	var b []byte
	for _, l := range labels {
		b = strconv.AppendQuote(b, l.Name)
		b = strconv.AppendQuote(b, l.Value)
	}
	return string(b)
}
