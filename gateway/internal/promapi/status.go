// SPDX-License-Identifier: Apache-2.0

package promapi

import (
	"encoding/json"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/process"
)

// PrometheusVersion is the Prometheus whose API this is and whose engine evaluates: the version of its Go module in
// go.mod, v0.MMmm.p for M.m.p. Grafana decides by it what it may ask.
const PrometheusVersion = "3.13.5"

// Info is what the gateway knows of itself.
type Info struct {
	// Build is what was built.
	Build process.Build
	// Settings are the flags in force, without secrets.
	Settings []flags.Setting
	// Start is when the process started.
	Start time.Time
}

// data answers with what encoding/json makes of v.
func (c *call) data(v any) error {
	raw, err := compact(v)
	if err != nil {
		return err
	}
	c.begin()
	if _, err := c.json.Write(raw); err != nil {
		return err
	}
	c.end(nil, nil)
	return nil
}

func (c *call) buildInfo() error {
	b := c.api.Info.Build
	return c.data(struct {
		Version            string `json:"version"`
		Revision           string `json:"revision"`
		Branch             string `json:"branch"`
		BuildUser          string `json:"buildUser"`
		BuildDate          string `json:"buildDate"`
		GoVersion          string `json:"goVersion"`
		Application        string `json:"application"`
		ApplicationVersion string `json:"applicationVersion"`
	}{Version: PrometheusVersion, Revision: b.Revision, GoVersion: b.GoVersion, Application: "Tributary", ApplicationVersion: b.Version})
}

func (c *call) runtimeInfo() error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	return c.data(struct {
		StartTime           time.Time `json:"startTime"`
		CWD                 string    `json:"CWD"`
		Hostname            string    `json:"hostname"`
		ServerTime          time.Time `json:"serverTime"`
		ReloadConfigSuccess bool      `json:"reloadConfigSuccess"`
		LastConfigTime      time.Time `json:"lastConfigTime"`
		CorruptionCount     int64     `json:"corruptionCount"`
		GoroutineCount      int       `json:"goroutineCount"`
		GOMAXPROCS          int       `json:"GOMAXPROCS"`
		GOMEMLIMIT          int64     `json:"GOMEMLIMIT"`
		GOGC                string    `json:"GOGC"`
		GODEBUG             string    `json:"GODEBUG"`
		StorageRetention    string    `json:"storageRetention"`
	}{
		StartTime: c.api.Info.Start.UTC(), CWD: dir, Hostname: host, ServerTime: time.Now().UTC(),
		ReloadConfigSuccess: true, LastConfigTime: c.api.Info.Start.UTC(), // flags are read once
		GoroutineCount: runtime.NumGoroutine(), GOMAXPROCS: runtime.GOMAXPROCS(0), GOMEMLIMIT: debug.SetMemoryLimit(-1),
		GOGC: os.Getenv("GOGC"), GODEBUG: os.Getenv("GODEBUG"),
	})
}

func (c *call) flags() error {
	all := map[string]string{}
	for _, s := range c.api.Info.Settings {
		all[s.Name] = s.Value
	}
	return c.data(all)
}

// config tells the flags in force as YAML: there is no other configuration.
func (c *call) config() error {
	var b strings.Builder
	for _, s := range c.api.Info.Settings {
		value, err := json.Marshal(s.Value) // YAML reads JSON's texts
		if err != nil {
			return err
		}
		b.WriteString(s.Name + ": " + string(value) + "\n")
	}
	return c.data(struct {
		YAML string `json:"yaml"`
	}{b.String()})
}
