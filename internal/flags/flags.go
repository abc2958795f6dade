// SPDX-License-Identifier: Apache-2.0

// Package flags parses a command line whose every flag can also be set by environment variable, and prints its help.
// Which flags there are is left to the Config types, each of which registers its own on a flag set it is given.
package flags

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"strings"
	"time"
)

// Options says where values come from when the command line is silent.
type Options struct {
	// Prefix of the environment names: flag web.listen-address is PREFIX_WEB_LISTEN_ADDRESS.
	Prefix string
	// LowerCase lists flags that are also read from their bare lower-case name, `default-database` from
	// `default_database`. The prefixed name wins.
	LowerCase []string
	// Foreign are variables of other software that a flag is also read from. The flag's own names win.
	Foreign []Foreign
	// LookupEnv is os.LookupEnv unless a test sets it.
	LookupEnv func(string) (string, bool)
	// About is the paragraph above the flags in the help text.
	About string
}

// Foreign is an environment variable of other software, such as the AWS SDK, that means what a flag means.
type Foreign struct {
	// Flag is the flag's name, Env the variable's.
	Flag, Env string
	// Value turns the variable's value into the flag's. Empty: the variable says nothing.
	Value func(string) (string, error)
}

// EnvName returns the environment name of a flag.
func EnvName(prefix, flagName string) string {
	return prefix + "_" + strings.ToUpper(snake(flagName))
}

func snake(name string) string { return strings.NewReplacer("-", "_", ".", "_").Replace(name) }

// Parse sets the flags of fs from the environment and then from args, so that the command line wins. It returns
// flag.ErrHelp when help was asked for (and printed to fs.Output()), and an error that names the flag or variable and
// the value when one cannot be parsed. Positional arguments are refused.
func Parse(fs *flag.FlagSet, args []string, o Options) error {
	if o.LookupEnv == nil {
		o.LookupEnv = os.LookupEnv
	}
	fs.Usage = func() { Usage(fs, o) }
	fs.VisitAll(func(f *flag.Flag) { f.Value = explained(f.Value) })
	if err := fromEnvironment(fs, o); err != nil {
		return err
	}
	out := fs.Output()
	fs.SetOutput(io.Discard) // the flag package prints each error itself; ours are printed once, by main
	err := fs.Parse(args)
	fs.SetOutput(out)
	if errors.Is(err, flag.ErrHelp) {
		Usage(fs, o)
		return err
	}
	if err != nil {
		return fmt.Errorf("%w (see %s --help)", err, fs.Name())
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q (see %s --help)", fs.Arg(0), fs.Name())
	}
	return nil
}

// explaining is a value of one of the flag package's own types, whose errors are only "parse error" and "value out of range", with what
// the flag wants added.
type explaining struct {
	flag.Value
	want string
}

// explained returns a value whose errors say what it wants.
func explained(v flag.Value) flag.Value {
	getter, ok := v.(flag.Getter)
	if !ok {
		return v // its errors are its own
	}
	switch getter.Get().(type) {
	case time.Duration:
		return &explaining{v, "want a duration such as 30s, 5m or 1h"}
	case int, int64, uint, uint64:
		return &explaining{v, "want a whole number"}
	case float64:
		return &explaining{v, "want a number"}
	case bool:
		return &explaining{v, "want true or false"}
	}
	return v
}

func (e *explaining) Set(s string) error {
	if e.Value.Set(s) != nil {
		return errors.New(e.want)
	}
	return nil
}

// IsBoolFlag tells the flag package that --name alone means --name=true.
func (e *explaining) IsBoolFlag() bool {
	b, ok := e.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

func fromEnvironment(fs *flag.FlagSet, o Options) error {
	var errs []error
	fs.VisitAll(func(f *flag.Flag) {
		name := EnvName(o.Prefix, f.Name)
		value, ok := o.LookupEnv(name)
		if !ok && slices.Contains(o.LowerCase, f.Name) {
			name = snake(f.Name)
			value, ok = o.LookupEnv(name)
		}
		var err error
		if !ok {
			name, value, err = foreign(f.Name, o)
			ok = err != nil || value != ""
		}
		if !ok {
			return
		}
		if err == nil {
			err = fs.Set(f.Name, value)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("environment variable %s: invalid value %q for --%s: %w", name, value, f.Name, err))
		}
	})
	return errors.Join(errs...)
}

// foreign returns the first variable of other software that says something about a flag, and the flag's value; with an
// error it returns the variable's own value.
func foreign(flagName string, o Options) (name, value string, err error) {
	for _, e := range o.Foreign {
		if e.Flag != flagName {
			continue
		}
		given, ok := o.LookupEnv(e.Env)
		if !ok {
			continue
		}
		if value, err = e.Value(given); err != nil {
			return e.Env, given, err
		}
		if value != "" {
			return e.Env, value, nil
		}
	}
	return "", "", nil
}

// Usage prints every flag with its default, its help text and its environment names, the one that wins first.
func Usage(fs *flag.FlagSet, o Options) {
	w := fs.Output()
	fmt.Fprintf(w, "Usage: %s [flags]\n", fs.Name())
	if o.About != "" {
		fmt.Fprintf(w, "\n%s\n", o.About)
	}
	fmt.Fprintf(w, "\nEvery flag can also be set by environment variable; the command line wins.\n\n")
	fs.VisitAll(func(f *flag.Flag) {
		names := EnvName(o.Prefix, f.Name)
		if slices.Contains(o.LowerCase, f.Name) {
			names += " or " + snake(f.Name)
		}
		for _, e := range o.Foreign {
			if e.Flag == f.Name {
				names += " or " + e.Env
			}
		}
		fmt.Fprintf(w, "  --%s", f.Name)
		if f.DefValue != "" {
			fmt.Fprintf(w, "=%s", f.DefValue)
		}
		fmt.Fprintf(w, "\n        %s\n        [%s]\n", strings.ReplaceAll(f.Usage, "\n", "\n        "), names)
	})
}

// Setting is one flag, its value in force, and the value it has when nobody sets it.
type Setting struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Default string `json:"default"`
}

// Settings returns every flag and its value, sorted by name, for a status page. Values of the flags in secret are
// replaced by "(set)" when they have any.
func Settings(fs *flag.FlagSet, secret ...string) []Setting {
	hide := map[string]bool{}
	for _, s := range secret {
		hide[s] = true
	}
	var out []Setting
	fs.VisitAll(func(f *flag.Flag) {
		v, byDefault := f.Value.String(), f.DefValue
		if hide[f.Name] && v != "" {
			v, byDefault = "(set)", ""
		}
		out = append(out, Setting{f.Name, v, byDefault})
	})
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}
