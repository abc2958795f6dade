// SPDX-License-Identifier: Apache-2.0

// Package cost shows people what a timestream-local says that its workload would cost on Amazon Timestream: it asks a running one for its
// table "timestream_local"."cost" by the Query API and prints it. Counting and prices are package local's.
package cost

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
)

// statement names what Row has, in its order.
const statement = `SELECT database_name, table_name, metered_hours, write_requests, records, write_units, write_units_without_names, write_units_least,
	stored_records, memory_bytes, magnetic_bytes, query_count, query_bytes_metered, tcu_hours,
	writes_usd, memory_usd, magnetic_usd, queries_usd, total_usd, month_writes_usd, month_memory_usd, month_magnetic_usd, month_queries_usd, month_total_usd
	FROM "timestream_local"."cost" ORDER BY month_total_usd DESC NULLS LAST, write_units DESC, database_name, table_name`

// Row is what one table would cost; the table is empty for what belongs to none.
type Row struct {
	Database, Table string
	// MeteredHours is the time that was counted.
	MeteredHours float64
	Requests     float64
	Records      float64
	// Units are write units: by the guide's formula, without names, and the least there may be.
	Units, UnitsWithoutNames, UnitsLeast float64
	StoredRecords                        float64
	MemoryBytes, MagneticBytes           float64
	Queries, QueryBytes, UnitHours       float64
	// Spent is what it has cost so far in US dollars, Month what a month like this would cost; NaN where that is not known yet.
	Spent, Month Bill
}

// Bill is an amount in US dollars by what is paid for.
type Bill struct{ Writes, Memory, Magnetic, Queries, Total float64 }

func (b *Bill) add(o Bill) {
	b.Writes += o.Writes
	b.Memory += o.Memory
	b.Magnetic += o.Magnetic
	b.Queries += o.Queries
	b.Total += o.Total
}

// querier is the part of the Query API that is asked. *timestreamquery.Client and *local.DB satisfy it.
type querier interface {
	Query(context.Context, *timestreamquery.QueryInput, ...func(*timestreamquery.Options)) (*timestreamquery.QueryOutput, error)
}

// Ask returns a row for each table, the most expensive first.
func Ask(ctx context.Context, q querier) ([]Row, error) {
	var rows []Row
	in := &timestreamquery.QueryInput{QueryString: aws.String(statement)}
	for {
		out, err := q.Query(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, r := range out.Rows {
			var row Row
			numbers := row.numbers()
			if len(r.Data) != len(numbers)+2 {
				return nil, fmt.Errorf("a row of %d values, want %d", len(r.Data), len(numbers)+2)
			}
			row.Database, row.Table = aws.ToString(r.Data[0].ScalarValue), aws.ToString(r.Data[1].ScalarValue)
			for i, to := range numbers {
				if *to = math.NaN(); r.Data[i+2].ScalarValue == nil {
					continue
				}
				if *to, err = strconv.ParseFloat(*r.Data[i+2].ScalarValue, 64); err != nil {
					return nil, err
				}
			}
			rows = append(rows, row)
		}
		if out.NextToken == nil {
			return rows, nil
		}
		in.NextToken = out.NextToken
	}
}

// numbers are where the columns after the names go.
func (r *Row) numbers() []*float64 {
	return []*float64{
		&r.MeteredHours, &r.Requests, &r.Records, &r.Units, &r.UnitsWithoutNames, &r.UnitsLeast, &r.StoredRecords, &r.MemoryBytes, &r.MagneticBytes,
		&r.Queries, &r.QueryBytes, &r.UnitHours,
		&r.Spent.Writes, &r.Spent.Memory, &r.Spent.Magnetic, &r.Spent.Queries, &r.Spent.Total,
		&r.Month.Writes, &r.Month.Memory, &r.Month.Magnetic, &r.Month.Queries, &r.Month.Total,
	}
}

// Print writes rows as a table for people, with their sum.
func Print(w io.Writer, rows []Row) error {
	total := Row{Table: "total"}
	for _, r := range rows {
		total.MeteredHours = max(total.MeteredHours, r.MeteredHours)
		sum, part := total.numbers(), r.numbers()
		for i := 1; i < len(sum)-10; i++ {
			*sum[i] += *part[i]
		}
		total.Spent.add(r.Spent)
		if !math.IsNaN(r.Month.Total) {
			total.Month.add(r.Month)
		}
	}
	if _, err := fmt.Fprintf(w, "What %s of this workload would cost on Amazon Timestream, in US dollars at the server's prices.\n\n", hours(total.MeteredHours)); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(cells ...string) {
		_, _ = io.WriteString(t, strings.Join(cells, "\t")+"\t\n") // kept until Flush
	}
	line("table", "records", "write units", "without names", "least", "memory", "magnetic", "queries", "scanned", "TCU-h", "so far", "a month:", "writes", "memory", "magnetic", "queries", "total")
	for _, r := range append(rows, total) {
		name := r.Table
		switch {
		case r.Database != "":
			name = r.Database + "." + r.Table
		case name == "":
			name = "(no table)"
		}
		line(name, count(r.Records), count(r.Units), count(r.UnitsWithoutNames), count(r.UnitsLeast), bytes(r.MemoryBytes), bytes(r.MagneticBytes), count(r.Queries), bytes(r.QueryBytes),
			fmt.Sprintf("%.3f", r.UnitHours), dollars(r.Spent.Total), "", dollars(r.Month.Writes), dollars(r.Month.Memory), dollars(r.Month.Magnetic), dollars(r.Month.Queries), dollars(r.Month.Total))
	}
	return t.Flush()
}

func hours(h float64) string {
	switch {
	case h < 1:
		return fmt.Sprintf("%.1f minutes", h*60)
	case h < 48:
		return fmt.Sprintf("%.1f hours", h)
	}
	return fmt.Sprintf("%.1f days", h/24)
}

// count writes a whole number with commas.
func count(n float64) string {
	s := strconv.FormatFloat(n, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func bytes(n float64) string {
	for _, unit := range []string{"B", "kB", "MB", "GB"} {
		if n < 1000 {
			return strconv.FormatFloat(n, 'f', map[bool]int{true: 0, false: 1}[unit == "B"], 64) + " " + unit
		}
		n /= 1000
	}
	return fmt.Sprintf("%.1f TB", n)
}

// dollars writes an amount with the digits that matter.
func dollars(x float64) string {
	switch {
	case math.IsNaN(x):
		return "-"
	case x != 0 && x < 0.01:
		return fmt.Sprintf("%.2g", x)
	}
	return fmt.Sprintf("%.2f", x)
}
