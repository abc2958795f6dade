// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
)

// staticGo is the SDK for Go with an endpoint and nothing from the environment.
func staticGo(url string) goSDK {
	cfg := aws.Config{Region: "us-east-1", BaseEndpoint: &url, Credentials: aws.AnonymousCredentials{}, Retryer: func() aws.Retryer { return aws.NopRetryer{} }}
	return goSDK{timestreamwrite.NewFromConfig(cfg), timestreamquery.NewFromConfig(cfg)}
}

// grafana is a database with what the statements of a DevOps dashboard ask for. T is when its first records are; the others
// follow every 30 seconds.
type grafana struct {
	*testing.T
	client goSDK
	t      time.Time
}

const grafanaTable = "DevOps"

func newGrafana(t *testing.T) grafana {
	t.Helper()
	g := grafana{t, staticGo(serve(t).URL), time.Now().Add(-10 * time.Minute).Truncate(time.Minute)}
	for _, c := range []struct {
		operation string
		input     object
	}{
		{"CreateDatabase", object{"DatabaseName": "grafanaDB"}},
		{"CreateTable", object{"DatabaseName": "grafanaDB", "TableName": grafanaTable}},
	} {
		if _, err := g.client.call(t.Context(), write, c.operation, c.input); err != nil {
			t.Fatal(err)
		}
	}
	hosts := []struct{ region, service string }{{"us-east-1", "apollo"}, {"us-east-1", "apollo"}, {"us-east-1", "zeus"}, {"eu-west-1", "zeus"}}
	for i, h := range hosts {
		dimensions := func(more ...string) []any {
			var out []any
			all := append([]string{"region", h.region, "cell", h.region + "-cell-1", "silo", h.region + "-cell-1-silo-1", "availability_zone", h.region + "-1",
				"microservice_name", h.service, "instance_name", fmt.Sprintf("i-%d", i+1)}, more...)
			for j := 0; j < len(all); j += 2 {
				out = append(out, object{"Name": all[j], "Value": all[j+1]})
			}
			return out
		}
		var records []any
		add := func(point int, name, kind, value string, dimensions []any) {
			records = append(records, object{"MeasureName": name, "MeasureValueType": kind, "MeasureValue": value, "Dimensions": dimensions,
				"Time": strconv.FormatInt(g.t.Add(time.Duration(point)*30*time.Second).UnixMilli(), 10)})
		}
		for p := range 4 {
			machine := dimensions("instance_type", "r5.4xlarge", "os_version", "AL2")
			process := dimensions("process_name", "host_manager", "jdk_version", "JDK_11")
			add(p, "cpu_user", "DOUBLE", strconv.Itoa(10*(i+1)+p), machine)
			add(p, "cpu_system", "DOUBLE", strconv.Itoa(p), machine)
			add(p, "memory_used", "DOUBLE", strconv.Itoa(50+i), machine)
			add(p, "disk_io_reads", "BIGINT", strconv.Itoa(100*(i+1)*(p+1)), machine)
			add(p, "gc_pause", "DOUBLE", strconv.FormatFloat(float64(i)+float64(p)/4, 'f', -1, 64), process)
			if i == 0 {
				add(p, "task_end_state", "VARCHAR", []string{"SUCCESS", "SUCCESS", "FAILURE", "SUCCESS"}[p], process)
			}
		}
		if _, err := g.client.call(t.Context(), write, "WriteRecords", object{"DatabaseName": "grafanaDB", "TableName": grafanaTable, "Records": records}); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// expand replaces the data source's macros as it does: the range is all records, the interval 30 seconds.
func (g grafana) expand(statement string) string {
	from, to := strconv.FormatInt(g.t.UnixMilli(), 10), strconv.FormatInt(g.t.Add(90*time.Second).UnixMilli(), 10)
	return strings.NewReplacer(
		"$__database", `"grafanaDB"`, "$__table", `"`+grafanaTable+`"`, "$__measure", "cpu_user", "$__refId", "First Sensor",
		"$__timeFilter", "time BETWEEN from_milliseconds("+from+") AND from_milliseconds("+to+")", "$__timeFrom", from, "$__timeTo", to,
		"$__interval_raw_ms", "30000", "$__interval_ms", "30000ms", "$__now_ms", strconv.FormatInt(time.Now().UnixMilli(), 10),
	).Replace(statement)
}

var instant = regexp.MustCompile(`T\+(\d+)`)

// stamps replaces T+seconds by the time that this is.
func (g grafana) stamps(s string) string {
	return instant.ReplaceAllStringFunc(s, func(m string) string {
		seconds, err := strconv.Atoi(m[2:])
		if err != nil {
			g.Fatal(err)
		}
		return g.t.Add(time.Duration(seconds) * time.Second).UTC().Format("2006-01-02 15:04:05.000000000")
	})
}

// fetch asks as the data source does when it waits for all pages: the statement again, with each token.
func (g grafana) fetch(statement string, maxRows int) ([]object, error) {
	in := object{"QueryString": statement}
	if maxRows > 0 {
		in["MaxRows"] = maxRows
	}
	var pages []object
	for {
		p, err := g.client.call(g.Context(), query, "Query", in)
		if err != nil {
			return pages, err
		}
		pages = append(pages, p)
		token, _ := p["NextToken"].(string)
		if token == "" {
			return pages, nil
		}
		in["NextToken"] = token
	}
}

// The statements have the shapes of the data source's own: its health check, its listings, the queries of its sample
// dashboard, and those that its fixtures were captured with.
func TestGrafana(t *testing.T) {
	g := newGrafana(t)
	for _, tt := range []struct {
		name, give string
		columns    string
		want       []string
		unordered  bool
	}{
		{name: "health", give: "SELECT 1", columns: "_col0 INTEGER", want: []string{"1"}},
		{name: "every type", give: `SELECT
		  1     as t_int32,
		  'two' as t_varchar,
		  timestamp '2020-08-08 01:00' as timestamp,
		  interval '2' day - interval '3' hour as interval_day_to_second,
		  interval '3' year - interval '5' month as interval_year_to_month,
		  time '01:00' as time,
		  date '2020-08-08' as date
		`, columns: "t_int32 INTEGER, t_varchar VARCHAR, timestamp TIMESTAMP, interval_day_to_second INTERVAL_DAY_TO_SECOND, interval_year_to_month INTERVAL_YEAR_TO_MONTH, time TIME, date DATE",
			want: []string{"1 | two | 2020-08-08 01:00:00.000000000 | 1 21:00:00.000000000 | 2-7 | 01:00:00.000000000 | 2020-08-08"}},
		{name: "databases", give: "SHOW DATABASES", columns: "Database VARCHAR", want: []string{"grafanaDB"}},
		{name: "tables", give: `SHOW TABLES FROM "grafanaDB"`, columns: "Table VARCHAR", want: []string{grafanaTable}},
		{name: "measures and dimensions", give: "SHOW MEASURES FROM $__database.$__table LIKE 'task%'", columns: "measure_name VARCHAR, data_type VARCHAR, dimensions ARRAY(ROW(dimension_name VARCHAR, data_type VARCHAR))",
			want: []string{"task_end_state | varchar | [(region, varchar), (cell, varchar), (silo, varchar), (availability_zone, varchar), (microservice_name, varchar), (instance_name, varchar), (process_name, varchar), (jdk_version, varchar)]"}},
		{name: "columns", give: "DESCRIBE $__database.$__table", columns: "Column VARCHAR, Type VARCHAR, Timestream attribute type VARCHAR", unordered: true,
			want: []string{"availability_zone | varchar | DIMENSION", "cell | varchar | DIMENSION", "instance_name | varchar | DIMENSION", "instance_type | varchar | DIMENSION", "jdk_version | varchar | DIMENSION",
				"measure_name | varchar | MEASURE_NAME", "measure_value::bigint | bigint | MEASURE_VALUE", "measure_value::double | double | MEASURE_VALUE", "measure_value::varchar | varchar | MEASURE_VALUE",
				"microservice_name | varchar | DIMENSION", "os_version | varchar | DIMENSION", "process_name | varchar | DIMENSION", "region | varchar | DIMENSION", "silo | varchar | DIMENSION", "time | timestamp | TIMESTAMP"}},
		{name: "a variable", give: "SELECT DISTINCT region FROM $__database.$__table WHERE $__timeFilter ORDER BY 1", columns: "region VARCHAR", want: []string{"eu-west-1", "us-east-1"}},
		{name: "a variable of several values", give: "SELECT DISTINCT instance_name FROM $__database.$__table WHERE region IN ('us-east-1','eu-west-1') AND microservice_name IN ('zeus') ORDER BY instance_name",
			columns: "instance_name VARCHAR", want: []string{"i-3", "i-4"}},
		{name: "macros of numbers", give: "SELECT max(to_milliseconds(time)) - $__timeTo AS late, min(to_milliseconds(time)) - $__timeFrom AS early, max(measure_value::double) * $__interval_raw_ms AS v FROM $__database.$__table WHERE measure_name = '$__measure' AND time >= from_milliseconds($__timeFrom) AND time <= from_milliseconds($__timeTo) AND time < from_milliseconds($__now_ms)",
			columns: "late BIGINT, early BIGINT, v DOUBLE", want: []string{"0 | 0 | 1290000.0"}},
		{name: "the query's name", give: `SELECT time, measure_value::double AS "$__refId" FROM $__database.$__table WHERE $__timeFilter AND measure_name = '$__measure' AND instance_name = 'i-1' ORDER BY time`,
			columns: "time TIMESTAMP, First Sensor DOUBLE", want: []string{"T+0 | 10.0", "T+30 | 11.0", "T+60 | 12.0", "T+90 | 13.0"}},
		{name: "a pivot of counts", give: `SELECT CASE WHEN microservice_name = 'apollo' THEN num_instances ELSE NULL END AS apollo,
    CASE WHEN microservice_name = 'zeus' THEN num_instances ELSE NULL END AS zeus
FROM (
    SELECT microservice_name, SUM(num_instances) AS num_instances
    FROM (
        SELECT microservice_name, COUNT(DISTINCT instance_name) as num_instances
        FROM $__database.$__table
        WHERE $__timeFilter
            AND measure_name = '$__measure'
            AND region = 'us-east-1'
        GROUP BY region, cell, silo, availability_zone, microservice_name
    )
    GROUP BY microservice_name
)`, columns: "apollo BIGINT, zeus BIGINT", want: []string{"2 | NULL", "NULL | 1"}, unordered: true},
		{name: "a percentage", give: `SELECT ROUND(COUNT(IF(p90Cpu > 30, 1, NULL)) * 100 / CAST(COUNT(*) AS DOUBLE)) AS PercentageHigh
FROM
    (
        SELECT instance_name, approx_percentile(measure_value::double, 0.9) as p90Cpu
        FROM $__database.$__table
        WHERE $__timeFilter
            AND measure_name = '$__measure'
        GROUP BY region, cell, silo, availability_zone, microservice_name, instance_name
    )`, columns: "PercentageHigh DOUBLE", want: []string{"50.0"}},
		{name: "the distribution for the hosts that rank first", give: `WITH per_instance_memory_used AS (
    SELECT region, cell, silo, availability_zone, microservice_name, instance_name, BIN(time, 5m) AS time_bin,
        MAX(measure_value::double) AS max_memory
    FROM $__database.$__table
    WHERE $__timeFilter
        AND measure_name = 'memory_used'
        AND region = 'us-east-1' AND cell = 'us-east-1-cell-1'
    GROUP BY region, cell, silo, availability_zone, 
        microservice_name, instance_name, BIN(time, 5m)
), per_microservice_memory AS (
    SELECT region, cell, silo, microservice_name,
        APPROX_PERCENTILE(max_memory, 0.95) AS p95_max_memory
    FROM per_instance_memory_used
    GROUP BY region, cell, silo, microservice_name
), per_silo_ranked AS (
    SELECT region, cell, silo, microservice_name,
        DENSE_RANK() OVER (PARTITION BY region, cell, silo ORDER BY p95_max_memory DESC) AS rank
    FROM per_microservice_memory
), instances_with_high_memory AS (
    SELECT r.region, r.cell, r.silo, r.microservice_name, m.instance_name,
        APPROX_PERCENTILE(max_memory, 0.95) AS p95_max_memory
    FROM per_silo_ranked r INNER JOIN per_instance_memory_used m
        ON r.region = m.region AND r.cell = m.cell AND r.silo = m.silo AND r.microservice_name = m.microservice_name
    WHERE r.rank = 1
    GROUP BY r.region, r.cell, r.silo, r.microservice_name, m.instance_name
), ranked_instances AS (
    SELECT region, cell, silo, microservice_name, instance_name,
        DENSE_RANK() OVER (PARTITION BY region, cell, silo, microservice_name ORDER BY p95_max_memory DESC) AS rank
    FROM instances_with_high_memory
)
SELECT t.region, t.microservice_name, t.instance_name, t.process_name, t.jdk_version,
    MIN(measure_value::double) AS min_gc_pause,
    ROUND(AVG(measure_value::double), 2) AS avg_gc_pause,
    ROUND(STDDEV(measure_value::double), 2) AS stddev_gc_pause,
    ROUND(APPROX_PERCENTILE(measure_value::double, 0.9), 2) AS p90_gc_pause
FROM ranked_instances r INNER JOIN $__database.$__table t ON
    r.region = t.region AND r.cell = t.cell AND r.silo = t.silo AND 
    r.microservice_name = t.microservice_name AND r.instance_name = t.instance_name
WHERE $__timeFilter
    AND measure_name = 'gc_pause'
    AND rank = 1
GROUP BY t.region, t.cell, t.silo, t.microservice_name, t.instance_name, t.process_name, t.jdk_version`,
			columns: "region VARCHAR, microservice_name VARCHAR, instance_name VARCHAR, process_name VARCHAR, jdk_version VARCHAR, min_gc_pause DOUBLE, avg_gc_pause DOUBLE, stddev_gc_pause DOUBLE, p90_gc_pause DOUBLE",
			want:    []string{"us-east-1 | zeus | i-3 | host_manager | JDK_11 | 2.0 | 2.38 | 0.32 | 2.75"}},
		{name: "measures side by side", give: `SELECT BIN(time, 1m) AS time_bin,
    AVG(CASE WHEN measure_name = 'cpu_user' THEN measure_value::double ELSE NULL END) AS avg_cpu_user,
    AVG(CASE WHEN measure_name = 'cpu_idle' THEN measure_value::double ELSE NULL END) AS avg_cpu_idle
FROM $__database.$__table
WHERE $__timeFilter
    AND measure_name IN (
        'cpu_user', 'cpu_idle'
    )
    AND region = 'us-east-1' AND microservice_name = 'apollo'
    AND instance_type = 'r5.4xlarge' AND os_version = 'AL2'
GROUP BY BIN(time, 1m)
ORDER BY time_bin desc`, columns: "time_bin TIMESTAMP, avg_cpu_user DOUBLE, avg_cpu_idle DOUBLE", want: []string{"T+60 | 17.5 | NULL", "T+0 | 15.5 | NULL"}},
		{name: "a condition on groups", give: `SELECT COUNT(*) AS NumLowUtilizationHosts FROM (
    SELECT region, cell, silo, availability_zone, microservice_name, instance_name
    FROM $__database.$__table
    WHERE $__timeFilter
        AND measure_name = '$__measure'
        AND microservice_name = 'apollo'
    GROUP BY region, cell, silo, availability_zone, microservice_name, instance_name
    HAVING approx_percentile(measure_value::double, 0.9) < 20
)`, columns: "NumLowUtilizationHosts BIGINT", want: []string{"1"}},
		{name: "groups of text", give: `SELECT measure_value::varchar AS task_end_state, COUNT(*) AS num_tasks
FROM $__database.$__table
WHERE $__timeFilter
    AND measure_name = 'task_end_state'
    AND microservice_name = 'apollo'
GROUP BY measure_value::varchar
ORDER BY 2 DESC`, columns: "task_end_state VARCHAR, num_tasks BIGINT", want: []string{"SUCCESS | 3", "FAILURE | 1"}},
		{name: "time series of the highest", give: `SELECT 
	silo, microservice_name, instance_name, 
	CREATE_TIME_SERIES(time, measure_value::double) AS gc_pause
FROM $__database.$__table
WHERE $__timeFilter
	AND measure_name = 'gc_pause'
GROUP BY region, 
	cell, 
	silo, 
	availability_zone, 
	microservice_name,
	instance_name, 
	process_name, 
	jdk_version		
ORDER BY AVG(measure_value::double) DESC
LIMIT 2`, columns: "silo VARCHAR, microservice_name VARCHAR, instance_name VARCHAR, gc_pause TIMESERIES(DOUBLE)",
			want: []string{"eu-west-1-cell-1-silo-1 | zeus | i-4 | {T+0 3.0, T+30 3.25, T+60 3.5, T+90 3.75}", "us-east-1-cell-1-silo-1 | zeus | i-3 | {T+0 2.0, T+30 2.25, T+60 2.5, T+90 2.75}"}},
		{name: "time series of several measures", give: `select measure_name, instance_name, create_time_series(time, measure_value::double)
		from $__database.$__table
		where time > ago(30m)
			AND (measure_name = 'cpu_user' or measure_name = 'cpu_system')
			and availability_zone ='eu-west-1-1'
			group by measure_name, availability_zone, instance_name order by measure_name
		`, columns: "measure_name VARCHAR, instance_name VARCHAR, _col2 TIMESERIES(DOUBLE)",
			want: []string{"cpu_system | i-4 | {T+0 0.0, T+30 1.0, T+60 2.0, T+90 3.0}", "cpu_user | i-4 | {T+0 40.0, T+30 41.0, T+60 42.0, T+90 43.0}"}},
		{name: "bins of the panel's interval", give: `SELECT BIN(time, $__interval_ms) AS time_bin,
    ROUND(AVG(measure_value::bigint), 2) AS avg_value,
    ROUND(APPROX_PERCENTILE(measure_value::bigint, 0.9), 2) AS p90_value
FROM $__database.$__table
WHERE $__timeFilter
    AND measure_name = 'disk_io_reads'
    AND region = 'us-east-1'
GROUP BY BIN(time, $__interval_ms)
ORDER BY time_bin desc`, columns: "time_bin TIMESTAMP, avg_value DOUBLE, p90_value BIGINT",
			want: []string{"T+90 | 800.0 | 1200", "T+60 | 600.0 | 900", "T+30 | 400.0 | 600", "T+0 | 200.0 | 300"}},
		{name: "bins with labels", give: `SELECT region, microservice_name,
    bin(time, 60s) AS time_bin,
    ROUND(AVG(measure_value::double), 2) AS avg_value
FROM $__database.$__table
WHERE $__timeFilter
    AND measure_name = '$__measure'
    AND region = 'us-east-1' AND microservice_name = 'zeus'
GROUP BY region, microservice_name, bin(time, 60s)
ORDER BY time_bin DESC`, columns: "region VARCHAR, microservice_name VARCHAR, time_bin TIMESTAMP, avg_value DOUBLE",
			want: []string{"us-east-1 | zeus | T+60 | 32.5", "us-east-1 | zeus | T+0 | 30.5"}},
		{name: "hosts", give: `SELECT region, cell, microservice_name,
    instance_type, os_version, instance_name
FROM grafanaDB.DevOps
WHERE $__timeFilter
    AND measure_name = 'cpu_user'
GROUP BY region, cell, microservice_name,
    instance_type, os_version, instance_name
ORDER BY region, cell, microservice_name,
    instance_type, os_version, instance_name`, columns: "region VARCHAR, cell VARCHAR, microservice_name VARCHAR, instance_type VARCHAR, os_version VARCHAR, instance_name VARCHAR",
			want: []string{"eu-west-1 | eu-west-1-cell-1 | zeus | r5.4xlarge | AL2 | i-4", "us-east-1 | us-east-1-cell-1 | apollo | r5.4xlarge | AL2 | i-1",
				"us-east-1 | us-east-1-cell-1 | apollo | r5.4xlarge | AL2 | i-2", "us-east-1 | us-east-1-cell-1 | zeus | r5.4xlarge | AL2 | i-3"}},
		{name: "times that are NULL", give: `SELECT measure_name ,
		CASE WHEN measure_name = 'cpu_user' THEN (SELECT NULL) ELSE time END
		FROM $__database.$__table WHERE instance_name = 'i-1' AND time = from_milliseconds($__timeFrom) AND measure_name LIKE 'cpu%' ORDER BY 1
			 LIMIT 10`, columns: "measure_name VARCHAR, _col1 TIMESTAMP", want: []string{"cpu_system | T+0", "cpu_user | NULL"}},
		{name: "filled gaps", give: gaps("INTERPOLATE_FILL", ", -1", "$__measure"), columns: "interpolatedValue TIMESERIES(DOUBLE)",
			want: []string{"{T+0 100.0, T+15 -1.0, T+30 104.0, T+45 -1.0, T+60 108.0, T+75 -1.0, T+90 112.0}"}},
		{name: "filled gaps of nothing", give: gaps("INTERPOLATE_FILL", ", sqrt(-1)", "any_metric_name"), columns: "interpolatedValue TIMESERIES(DOUBLE)", want: []string{"NULL"}},
		{name: "carried over gaps", give: gaps("INTERPOLATE_LOCF", "", "$__measure"), columns: "interpolatedValue TIMESERIES(DOUBLE)",
			want: []string{"{T+0 100.0, T+15 100.0, T+30 104.0, T+45 104.0, T+60 108.0, T+75 108.0, T+90 112.0}"}},
		{name: "lines over gaps", give: gaps("INTERPOLATE_LINEAR", "", "$__measure"), columns: "interpolatedValue TIMESERIES(DOUBLE)",
			want: []string{"{T+0 100.0, T+15 102.0, T+30 104.0, T+45 106.0, T+60 108.0, T+75 110.0, T+90 112.0}"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pages, err := g.fetch(g.expand(tt.give), 0)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(columns(pages[0]), ", "); got != tt.columns {
				t.Errorf("columns\ngot  %s\nwant %s", got, tt.columns)
			}
			got := rows(pages...)
			if tt.unordered {
				slices.Sort(got)
			}
			if want := strings.Split(g.stamps(strings.Join(tt.want, "\n")), "\n"); !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// gaps is a statement that interpolates the sum of a measure, by a function with one more argument or none.
func gaps(function, argument, measure string) string {
	return `WITH
		binnedTimeseries AS (
			SELECT BIN(time, $__interval_ms) AS binnedTime, SUM(measure_value::double) as value
			FROM $__database.$__table WHERE $__timeFilter 
				AND measure_name = '` + measure + `'
			GROUP BY BIN(time, $__interval_ms)
			ORDER BY binnedTime
		),
		interpolatedTimeseries AS (
			SELECT 
				` + function + `(
					CREATE_TIME_SERIES(binnedTime, value),
					SEQUENCE(min(binnedTime), max(binnedTime), 15000ms)` + argument + `
				) AS interpolatedValue
			FROM binnedTimeseries
		)
		SELECT * FROM interpolatedTimeseries`
}

// The data source either shows the first page and follows the tokens later, or waits for all pages; and it can cancel.
func TestGrafanaPages(t *testing.T) {
	g := newGrafana(t)
	const statement = "SELECT * FROM grafanaDB.DevOps WHERE measure_name = 'cpu_user' AND instance_name = 'i-1' ORDER BY time LIMIT 3"
	pages, err := g.fetch(statement, 1)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[any]bool{}
	var sizes []int
	for _, p := range pages {
		ids[p["QueryId"]] = true
		sizes = append(sizes, len(list(p, "Rows")))
		if !slices.Equal(columns(p), columns(pages[0])) || len(columns(p)) != 15 {
			t.Errorf("columns: %v", columns(p))
		}
	}
	if !slices.Equal(sizes, []int{0, 1, 1, 1}) || len(ids) != 1 {
		t.Errorf("rows of the pages %v, query ids %v", sizes, ids)
	}
	cancel := object{"QueryId": pages[0]["QueryId"]}
	if out, err := g.client.call(t.Context(), query, "CancelQuery", cancel); err != nil {
		t.Errorf("got %v, %v", out, err)
	}
	first, err := g.client.call(t.Context(), query, "Query", object{"QueryString": statement, "MaxRows": 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.client.call(t.Context(), query, "CancelQuery", object{"QueryId": first["QueryId"]}); err != nil {
		t.Error(err)
	}
	_, err = g.client.call(t.Context(), query, "Query", object{"QueryString": statement, "MaxRows": 1, "NextToken": first["NextToken"]})
	if e := asAPI(t, err); e.Code != "ConflictException" {
		t.Errorf("after cancelling: %v", e)
	}
	// A macro that nobody expanded.
	_, err = g.client.call(t.Context(), query, "Query", object{"QueryString": "SELECT time FROM grafanaDB.DevOps\nWHERE $__timeFilter"})
	if e := asAPI(t, err); e.Code != "ValidationException" || !strings.HasPrefix(e.Message, "The query syntax is invalid at line 2:7") {
		t.Errorf("got %v", e)
	}
}
