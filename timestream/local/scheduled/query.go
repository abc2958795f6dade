// SPDX-License-Identifier: Apache-2.0

// Package scheduled is scheduled queries apart from the store that they read and write: their schedules, definitions and states, the operations on
// them, who runs when, what a run does with the rows, what is remembered of it, and reports of what went wrong (Timestream Developer Guide,
// scheduledqueries; API reference, CreateScheduledQuery and the operations beside it).
//
// It leaves to others to tell who may call the operations, to plan and run the statements, to store records, and to keep all this on disk.
package scheduled

import (
	"time"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
)

// Definition is what a scheduled query was created as; nothing of it changes.
type Definition struct {
	// ID is the last part of its ARN: the name and a suffix of its own.
	ID, Name string
	// Statement is its SQL, Expression its schedule.
	Statement, Expression string
	// Topic, Role and Key are shown and not used: nobody is notified, nothing is guarded or encrypted by them.
	Topic, Role string
	Key         string `json:",omitempty"`
	// Target says where the rows go, nil for nowhere.
	Target *qtypes.TimestreamConfiguration `json:",omitempty"`
	Report qtypes.S3Configuration
	// Created is in whole seconds, as invocations of a rate count from it.
	Created time.Time
	// Token is the request's ClientToken, Fingerprint what tells the request from others.
	Token       string `json:",omitempty"`
	Fingerprint string `json:",omitempty"`
}

// State is what changes of a scheduled query.
type State struct {
	Enabled bool
	// From is the time up to which invocations are done with, or do not count.
	From time.Time
	// Previous is the invocation time of the last run, zero before the first.
	Previous time.Time
	// Version is that of the records of the last run.
	Version int64
	Last    *Run  `json:",omitempty"`
	Failed  []Run `json:",omitempty"`
}

// Run is one run of a query.
type Run struct {
	// Invocation is the time that the query was scheduled for, Trigger when it was run.
	Invocation, Trigger time.Time
	Manual              bool
	// Failure is why it failed, empty if it did not.
	Failure string `json:",omitempty"`
	Stats   Stats
	// ReportKey is the key of the error report in the bucket of the definition, empty when there is none.
	ReportKey string                                 `json:",omitempty"`
	Insights  *qtypes.ScheduledQueryInsightsResponse `json:",omitempty"`
}

// Stats are what a run took and did (API reference, ExecutionStats); what is written is in bytes, metered.
type Stats struct {
	Took                                          time.Duration
	Rows, Records, Written, BytesMetered, Scanned int64
}

// maxFailed is how many failed runs are remembered (API reference, ScheduledQueryDescription).
const maxFailed = 5

// Finished returns the state after a run. An automatic one is done with its invocation time. disable is for what cannot be recovered from.
func (s State) Finished(r Run, disable bool) State {
	if !r.Manual && r.Invocation.After(s.From) {
		s.From = r.Invocation
	}
	s.Previous, s.Last = r.Invocation, &r
	if disable {
		s.Enabled = false
	}
	if r.Failure != "" {
		failed := append([]Run{r}, s.Failed...)
		s.Failed = failed[:min(len(failed), maxFailed)]
	}
	return s
}

// Switched returns the state after it was enabled or disabled. Invocations count from the moment that it is enabled.
func (s State) Switched(enabled bool, now time.Time) State {
	if enabled && !s.Enabled {
		s.From = now
	}
	s.Enabled = enabled
	return s
}

// Triggered returns the state with the version for a run that begins now: the time in milliseconds, and more than the last one's (Developer
// Guide, scheduledqueries-patterns-latearrive: a version based on when the invocation was triggered; that it counts milliseconds is our guess).
func (s State) Triggered(now time.Time) State {
	s.Version = max(now.UnixMilli(), s.Version+1)
	return s
}

// Status is how the API names the outcome of a run.
func (r *Run) Status() qtypes.ScheduledQueryRunStatus {
	switch {
	case r.Manual && r.Failure == "":
		return qtypes.ScheduledQueryRunStatusManualTriggerSuccess
	case r.Manual:
		return qtypes.ScheduledQueryRunStatusManualTriggerFailure
	case r.Failure == "":
		return qtypes.ScheduledQueryRunStatusAutoTriggerSuccess
	}
	return qtypes.ScheduledQueryRunStatusAutoTriggerFailure
}
