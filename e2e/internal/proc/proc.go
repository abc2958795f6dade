// SPDX-License-Identifier: Apache-2.0

// Package proc runs the real binaries as processes and reads what they cost from /proc (Linux). What they do is left to
// the callers.
package proc

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is a running binary.
type Process struct {
	// Name is for people.
	Name string
	// Log is the path of the file with its output.
	Log string

	cmd  *exec.Cmd
	done chan struct{}
}

// Binary returns the path of a binary of this repository, which `make build` puts into bin.
func Binary(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			path := filepath.Join(dir, "bin", name)
			if _, err := os.Stat(path); err != nil {
				return "", fmt.Errorf("no binary %s: run `make build`: %w", name, err)
			}
			return path, nil
		}
	}
	return "", errors.New("no go.work above the working directory")
}

// Start starts a binary whose output goes to dir/name.log and waits until readyURL answers 200. The context bounds
// the waiting only.
func Start(ctx context.Context, name, dir, binary, readyURL string, args ...string) (*Process, error) {
	return StartCommand(ctx, name, dir, readyURL, exec.Command(binary, args...)) //nolint:noctx // the context bounds the waiting only
}

// StartCommand is Start for a command with an environment or a client of its own: readyURL is asked without checking
// certificates. Output is appended to dir/name.log.
func StartCommand(ctx context.Context, name, dir, readyURL string, cmd *exec.Cmd) (*Process, error) {
	log, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{Name: name, Log: log.Name(), cmd: cmd, done: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(p.done) }()
	if err := p.waitReady(ctx, readyURL); err != nil {
		p.Kill()
		text, _ := os.ReadFile(p.Log)
		return nil, fmt.Errorf("%s: %w; its log ends with:\n%s", name, err, text[max(0, len(text)-2000):])
	}
	return p, nil
}

func (p *Process) waitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // only its readiness is asked for
	defer transport.CloseIdleConnections()
	client := &http.Client{Timeout: 20 * time.Second, Transport: transport}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if res, err := client.Do(req); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-p.done:
			return errors.New("ended before it was ready")
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer 200: %w", url, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// clockTicks is USER_HZ, in which /proc counts CPU time: 100 on every Linux that Go runs on.
const clockTicks = 100

// CPU is the CPU time that the process has taken, user and system.
func (p *Process) CPU() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The second field is the name in parentheses and may hold spaces; utime and stime are fields 14 and 15.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("%s: unexpected /proc stat", p.Name)
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / clockTicks, errors.Join(err1, err2)
}

// PeakRSS is the most resident memory that the process has had, in bytes.
func (p *Process) PeakRSS() (int64, error) { return p.memory("VmHWM:") }

// RSS is the memory of the process that is resident now, in bytes.
func (p *Process) RSS() (int64, error) { return p.memory("VmRSS:") }

func (p *Process) memory(field string) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("%s: no %s in /proc status", p.Name, field)
}

// Own is the CPU time that the calling process has taken, user and system.
func Own() (time.Duration, error) {
	var r syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()), err
}

// Machine is what all cores have done since the machine started.
type Machine struct {
	// Total is the time of all cores together; Idle the part of it in which they had nothing to do.
	Total, Idle time.Duration
}

// IdleSince is the part of the time since then in which cores had nothing to do, 0 to 1. What other users of the machine do
// counts as work.
func (m Machine) IdleSince(then Machine) float64 {
	if m.Total == then.Total {
		return 0
	}
	return float64(m.Idle-then.Idle) / float64(m.Total-then.Total)
}

// ReadMachine reads what the machine has done.
func ReadMachine() (Machine, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return Machine{}, err
	}
	// cpu user nice system idle iowait irq softirq steal guest guest_nice; the guests are in user and nice.
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return Machine{}, fmt.Errorf("unexpected /proc/stat: %s", line)
	}
	var m Machine
	for i, f := range fields[1:9] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return Machine{}, fmt.Errorf("unexpected /proc/stat: %s", line)
		}
		d := time.Duration(n) * time.Second / clockTicks
		m.Total += d
		if i == 3 || i == 4 {
			m.Idle += d
		}
	}
	return m, nil
}

// Stop sends SIGTERM and waits; after two minutes it kills.
func (p *Process) Stop() error { return p.End(syscall.SIGTERM) }

// End is Stop by another signal. That a process ends otherwise than with exit code 0 is an error.
func (p *Process) End(signal os.Signal) error {
	_ = p.cmd.Process.Signal(signal)
	select {
	case <-p.done:
	case <-time.After(2 * time.Minute):
		p.Kill()
		return fmt.Errorf("%s did not end within two minutes of %s", p.Name, signal)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with exit code %d; its log is %s", p.Name, code, p.Log)
	}
	return nil
}

// Kill sends SIGKILL and waits.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}
