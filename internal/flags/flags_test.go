// SPDX-License-Identifier: Apache-2.0

package flags

import (
	"bytes"
	"errors"
	"flag"
	"strings"
	"testing"
)

func TestParsePrecedence(t *testing.T) {
	env := map[string]string{"T_DEFAULT_DATABASE": "fromPrefix", "default_database": "fromLower", "default_table": "lowerTable", "region": "ignored"}
	lookup := func(k string) (string, bool) { v, ok := env[k]; return v, ok }
	fs := flag.NewFlagSet("x", flag.ContinueOnError)
	db := fs.String("default-database", "d", "")
	table := fs.String("default-table", "t", "")
	region := fs.String("region", "r", "")
	addr := fs.String("web.listen-address", "a", "")
	err := Parse(fs, []string{"--web.listen-address=:1"}, Options{Prefix: "T", LowerCase: []string{"default-database", "default-table"}, LookupEnv: lookup})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, got, want string }{
		{"prefixed name wins over lower-case", *db, "fromPrefix"},
		{"lower-case name of a listed flag", *table, "lowerTable"},
		{"lower-case name of another flag", *region, "r"},
		{"command line", *addr, ":1"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, c.got, c.want)
		}
	}
}

// A variable of other software counts only where the flag's own names are silent.
func TestForeign(t *testing.T) {
	o := Options{Prefix: "T", LowerCase: []string{"retries"}, Foreign: []Foreign{
		{Flag: "retries", Env: "OTHER_NOTHING", Value: func(string) (string, error) { return "", nil }},
		{Flag: "retries", Env: "OTHER_TRIES", Value: func(s string) (string, error) {
			if s == "bad" {
				return "", errors.New("want a number")
			}
			return s + "0", nil
		}},
	}}
	for _, c := range []struct {
		name    string
		env     map[string]string
		args    []string
		want    int
		wantErr string
	}{
		{name: "default", want: 5},
		{name: "other software", env: map[string]string{"OTHER_TRIES": "7", "OTHER_NOTHING": "x"}, want: 70},
		{name: "bare name wins", env: map[string]string{"OTHER_TRIES": "bad", "retries": "3"}, want: 3},
		{name: "prefixed name wins", env: map[string]string{"OTHER_TRIES": "7", "T_RETRIES": "2"}, want: 2},
		{name: "command line wins", env: map[string]string{"OTHER_TRIES": "7"}, args: []string{"--retries=1"}, want: 1},
		{name: "bad", env: map[string]string{"OTHER_TRIES": "bad"}, wantErr: `OTHER_TRIES: invalid value "bad" for --retries: want a number`},
	} {
		fs := flag.NewFlagSet("x", flag.ContinueOnError)
		got := fs.Int("retries", 5, "Tries.")
		o.LookupEnv = func(k string) (string, bool) { v, ok := c.env[k]; return v, ok }
		err := Parse(fs, c.args, o)
		if c.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("%s: got %v, want %q", c.name, err, c.wantErr)
			}
		} else if err != nil || *got != c.want {
			t.Errorf("%s: got %d, %v, want %d", c.name, *got, err, c.want)
		}
	}
	fs := flag.NewFlagSet("x", flag.ContinueOnError)
	fs.Int("retries", 5, "Tries.")
	var out bytes.Buffer
	fs.SetOutput(&out)
	o.LookupEnv = func(string) (string, bool) { return "", false }
	if err := Parse(fs, []string{"--help"}, o); !errors.Is(err, flag.ErrHelp) || !strings.Contains(out.String(), "[T_RETRIES or retries or OTHER_NOTHING or OTHER_TRIES]") {
		t.Errorf("%v:\n%s", err, &out)
	}
}

func TestParseErrors(t *testing.T) {
	none := func(string) (string, bool) { return "", false }
	for _, c := range []struct {
		name string
		args []string
		env  func(string) (string, bool)
		want string
	}{
		{"unknown flag", []string{"--nope"}, none, "nope"},
		{"positional", []string{"start"}, none, `unexpected argument "start"`},
		{"bad environment", nil, func(k string) (string, bool) { return "maybe", k == "T_ON" }, `T_ON: invalid value "maybe" for --on: want true or false`},
		{"bad switch", []string{"--on=maybe"}, none, `-on: want true or false`},
		{"duration without a unit", []string{"--on", "--wait=5"}, none, `-wait: want a duration such as 30s, 5m or 1h`},
		{"no number", []string{"--count=x"}, none, `-count: want a whole number`},
		{"number out of range", []string{"--count=99999999999999999999"}, none, `-count: want a whole number`},
		{"no price", []string{"--price=x"}, none, `-price: want a number`},
		{"a value's own words", []string{"--size=x"}, none, `-size: want a size`},
	} {
		fs := flag.NewFlagSet("x", flag.ContinueOnError)
		fs.Bool("on", false, "")
		fs.Duration("wait", 0, "")
		fs.Int("count", 0, "")
		fs.Float64("price", 0, "")
		fs.Var(new(Bytes), "size", "")
		err := Parse(fs, c.args, Options{Prefix: "T", LookupEnv: c.env})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want text %q", c.name, err, c.want)
		}
	}
}

func TestHelpShowsDefaultsAndEnvironment(t *testing.T) {
	fs := flag.NewFlagSet("x", flag.ContinueOnError)
	size := Bytes(32 << 20)
	fs.Var(&size, "max-size", "Largest body.")
	fs.String("log.level", "info", "Level.")
	var out bytes.Buffer
	fs.SetOutput(&out)
	if err := Parse(fs, []string{"--help"}, Options{Prefix: "T", LowerCase: []string{"log.level"}}); !errors.Is(err, flag.ErrHelp) {
		t.Fatalf("got %v, want ErrHelp", err)
	}
	for _, want := range []string{"--max-size=32MiB", "Largest body.", "[T_MAX_SIZE]", "[T_LOG_LEVEL or log_level]"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help lacks %q:\n%s", want, out.String())
		}
	}
}

func TestBytes(t *testing.T) {
	for _, c := range []struct {
		give, print string
		want        Bytes
		bad         bool
	}{
		{give: "32MiB", want: 32 << 20, print: "32MiB"},
		{give: "1536KiB", want: 1536 << 10, print: "1536KiB"},
		{give: "1000", want: 1000, print: "1000B"},
		{give: "0", want: 0, print: "0B"},
		{give: "-1", bad: true}, {give: "x", bad: true}, {give: "9223372036854775807GiB", bad: true},
	} {
		var b Bytes
		err := b.Set(c.give)
		if (err != nil) != c.bad {
			t.Errorf("%q: error %v", c.give, err)
			continue
		}
		if !c.bad && (b != c.want || b.String() != c.print) {
			t.Errorf("%q: got %d %q, want %d %q", c.give, b, b.String(), c.want, c.print)
		}
	}
}

func TestSettingsHideSecrets(t *testing.T) {
	fs := flag.NewFlagSet("x", flag.ContinueOnError)
	fs.String("token", "s3cret", "")
	fs.String("addr", ":1", "")
	got := Settings(fs, "token")
	if len(got) != 2 || got[0] != (Setting{"addr", ":1", ":1"}) || got[1] != (Setting{"token", "(set)", ""}) {
		t.Errorf("got %v", got)
	}
}
