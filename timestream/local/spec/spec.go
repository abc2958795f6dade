// SPDX-License-Identifier: Apache-2.0

// Package spec holds the specification of timestream-local's SQL: one file for each function of the Timestream Developer Guide under
// functions, and one for each other part of the language under statements, which say what is served and show it by cases; and the
// tables that the cases read under fixtures. It reads these files and writes the README's tables from them; its tests run every case
// over HTTP. How SQL is done is package internal/sqlplan's.
//
// A file of a function:
//
//	name: bin
//	signatures: ["bin(timestamp, interval) -> timestamp"]    # as the guide words them
//	status: supported                                        # partial: something differs; absent: every call is an error
//	note: What differs, or what the answer is.               # one sentence; not needed where the status is supported
//	source: "Timestream Developer Guide, date-time-functions"
//	cases:
//	  - sql: SELECT bin(TIMESTAMP '2022-06-17 10:15:20', 5m)
//	    documented: true                                     # the guide's own example, perhaps shortened
//	    columns: ["_col0 timestamp"]                         # name and type
//	    rows: [["2022-06-17 10:15:00.000000000"]]            # in order
//	  - sql: SELECT bin(1, 5m)
//	    error: "line 1:8: Unexpected parameters ..."         # the whole message, or up to the three dots
//
// A file of a statement has a title besides, and the forms of its syntax as signatures.
//
// Types are in DESCRIBE's spelling: varchar, interval day to second, array(bigint), row(a bigint, varchar), timeseries(double). A
// cell is the text of a scalar, null, a list of cells for an array or a row, and [[time, value], ...] for a time series. A case may
// have `matches`, a regular expression for the one text of the one row, in the place of rows, and `given`, the names of the
// tables that it reads. Cases run at Now.
package spec

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

//go:generate go test . -run TestREADME -update

// Now is what now() answers in all cases: 2022-06-17 10:25:20.123456789.
func Now() time.Time { return time.Unix(1655461520, 123456789).UTC() }

// What a function's status may be.
const (
	Supported = "supported"
	Partial   = "partial"
	Absent    = "absent"
)

// Statements is the category of what lies under statements.
const Statements = "statements"

// Function is what a file says about one function, or about one statement.
type Function struct {
	// Category is the name of the file's directory.
	Category string `yaml:"-"`
	Name     string `yaml:"name"`
	// Title is what the README says in the place of the name; of statements only.
	Title      string   `yaml:"title"`
	Signatures []string `yaml:"signatures"`
	Status     string   `yaml:"status"`
	Note       string   `yaml:"note"`
	Source     string   `yaml:"source"`
	Cases      []Case   `yaml:"cases"`
}

// Case is one statement and its answer: Rows, Matches or Error.
type Case struct {
	SQL        string   `yaml:"sql"`
	Documented bool     `yaml:"documented"`
	Given      []string `yaml:"given"`
	// Columns are names and types, with a space between.
	Columns []string `yaml:"columns"`
	Rows    []Row    `yaml:"rows"`
	Matches string   `yaml:"matches"`
	// Error is the whole message, or its beginning and three dots.
	Error string `yaml:"error"`
}

// Row is one row of an answer, one node for each cell.
type Row []yaml.Node

// Table is a fixture: the records that a table has. Its name is that of the file, its database is sampleDB, as in the guide.
type Table struct {
	Name string `yaml:"-"`
	// Dimensions are the names of the dimensions, Measures those of the attributes with their types, as in `cpu double`. All
	// records are multi-measure ones of the measure Measure, or single-measure ones where Measures is `measure_value::double` or another
	// of these. What is null is left out.
	Dimensions []string `yaml:"dimensions"`
	Measure    string   `yaml:"measure"`
	Measures   []string `yaml:"measures"`
	// Records are the dimensions' values, the time and the attributes' values of each record.
	Records []Row `yaml:"records"`
}

// Categories are the directories under functions, in the order of the README.
func Categories() []string {
	return []string{"time-series", "date-time", "regex", "string", "math", "bitwise", "array", "aggregate", "window", "conditional", "conversion",
		"comparison", "undocumented"}
}

// Load reads all functions, ordered by category and name. An error names the file.
func Load(files fs.FS) ([]Function, error) {
	var out []Function
	for _, category := range Categories() {
		list, err := loadCategory(files, path.Join("functions", category), category)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

func loadCategory(files fs.FS, dir, category string) ([]Function, error) {
	names, err := fs.Glob(files, path.Join(dir, "*"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var out []Function
	for _, name := range names {
		f := Function{Category: category}
		if err := read(files, name, &f); err != nil {
			return nil, err
		}
		if err := f.check(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if want := f.Name + ".yaml"; path.Base(name) != want {
			return nil, fmt.Errorf("%s: the file of %s is %s", name, f.Name, want)
		}
		out = append(out, f)
	}
	return out, nil
}

// LoadStatements reads the other parts of the language, ordered by name. An error names the file.
func LoadStatements(files fs.FS) ([]Function, error) {
	return loadCategory(files, Statements, Statements)
}

// LoadTables reads the fixtures by name.
func LoadTables(files fs.FS) (map[string]Table, error) {
	names, err := fs.Glob(files, "fixtures/*.yaml")
	if err != nil {
		return nil, err
	}
	out := map[string]Table{}
	for _, name := range names {
		t := Table{Name: strings.TrimSuffix(path.Base(name), ".yaml")}
		if err := read(files, name, &t); err != nil {
			return nil, err
		}
		width := len(t.Dimensions) + 1 + len(t.Measures)
		for i, r := range t.Records {
			if len(r) != width {
				return nil, fmt.Errorf("%s: record %d has %d values, want %d", name, i+1, len(r), width)
			}
		}
		out[t.Name] = t
	}
	return out, nil
}

func read(files fs.FS, name string, into any) error {
	text, err := fs.ReadFile(files, name)
	if err != nil {
		return err
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// check tells what is missing in a file.
func (f Function) check() error {
	switch {
	case f.Status != Supported && f.Status != Partial && f.Status != Absent:
		return fmt.Errorf("status %q is none", f.Status)
	case f.Status != Supported && f.Note == "":
		return fmt.Errorf("a function that is %s needs a note", f.Status)
	case strings.ContainsAny(f.Note, "\n|"):
		return fmt.Errorf("the note has to fit a line of a table")
	case (f.Category == Statements) != (f.Title != ""):
		return fmt.Errorf("a statement has a title, and nothing else has one")
	case len(f.Signatures) == 0 || f.Source == "" || len(f.Cases) == 0:
		return fmt.Errorf("signatures, source or cases are missing")
	}
	documented := false
	for i, c := range f.Cases {
		answers := 0
		for _, has := range []bool{c.Rows != nil, c.Matches != "", c.Error != ""} {
			if has {
				answers++
			}
		}
		switch {
		case answers != 1:
			return fmt.Errorf("case %d: rows, matches or error, one of them", i+1)
		case f.Status == Absent && c.Error == "":
			return fmt.Errorf("case %d: the function is absent, so its answer is an error", i+1)
		case c.Error == "" && c.Columns == nil:
			return fmt.Errorf("case %d: columns are missing", i+1)
		}
		documented = documented || c.Documented
	}
	if f.Status == Supported && f.Category != "undocumented" && f.Category != Statements && !documented && f.Note == "" {
		return fmt.Errorf("no case is documented, and no note says that the guide has no example")
	}
	return nil
}

// Markdown writes the README's table: one row for what is supported of a category, one for each function with a note.
func Markdown(functions []Function) string {
	var b strings.Builder
	counts := map[string]int{}
	for _, f := range functions {
		if f.Category != "undocumented" {
			counts[f.Status]++
		}
	}
	fmt.Fprintf(&b, "Of the guide's functions %d are supported, %d with a difference, %d absent.\n\n", counts[Supported], counts[Partial], counts[Absent])
	b.WriteString("| | function | status | |\n| --- | --- | --- | --- |\n")
	for _, category := range Categories() {
		var plain []string
		var rest []Function
		for _, f := range functions {
			switch {
			case f.Category != category:
			case f.Status == Supported:
				plain = append(plain, "`"+f.Name+"`")
			default:
				rest = append(rest, f)
			}
		}
		if plain != nil {
			fmt.Fprintf(&b, "| %s | %s | %s | |\n", category, strings.Join(plain, ", "), Supported)
		}
		for _, f := range rest {
			fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", category, f.Name, f.Status, f.Note)
		}
	}
	return b.String()
}

// StatementsMarkdown writes the README's table of what the language has besides functions.
func StatementsMarkdown(statements []Function) string {
	var b strings.Builder
	b.WriteString("| | status | |\n| --- | --- | --- |\n")
	for _, s := range statements {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", s.Title, s.Status, s.Note)
	}
	return b.String()
}
