// SPDX-License-Identifier: Apache-2.0

// Package logging builds the logger of a process from its flags: logfmt or JSON on standard error, as Prometheus does.
package logging

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// Config is what the flags say about logging.
type Config struct {
	// Level is debug, info, warn or error.
	Level string
	// Format is logfmt or json.
	Format string
	// Enabled false silences the logger altogether.
	Enabled bool
}

// DefaultConfig returns info, logfmt, enabled.
func DefaultConfig() Config { return Config{Level: "info", Format: "logfmt", Enabled: true} }

// RegisterFlags registers the flags with the present values as defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.Level, "log.level", c.Level, "Only log messages of this severity or above: debug, info, warn, error.")
	fs.StringVar(&c.Format, "log.format", c.Format, "Form of log messages: logfmt or json.")
	fs.BoolVar(&c.Enabled, "enable-logging", c.Enabled, "Write log messages to standard error.")
}

// Validate names what is wrong with the configuration.
func (c Config) Validate() error {
	if _, err := c.level(); err != nil {
		return err
	}
	if c.Format != "logfmt" && c.Format != "json" {
		return fmt.Errorf("--log.format=%q: want logfmt or json", c.Format)
	}
	return nil
}

func (c Config) level() (slog.Level, error) {
	var l slog.Level
	switch strings.ToLower(c.Level) {
	case "debug", "info", "warn", "error":
		err := l.UnmarshalText([]byte(c.Level))
		return l, err
	}
	return l, fmt.Errorf("--log.level=%q: want debug, info, warn or error", c.Level)
}

// New returns a logger that writes to w. The configuration must be valid; an unknown level counts as info.
func New(c Config, w io.Writer) *slog.Logger {
	if !c.Enabled {
		return slog.New(slog.DiscardHandler)
	}
	level, _ := c.level()
	opts := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
