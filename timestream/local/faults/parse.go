// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Syntax describes the text of a plan, for help and errors.
const Syntax = "Rules, separated by ; or line ends, each a list of kind=value separated by commas; what follows a # is a comment.\n" +
	"Kinds: throttle, rate (calls a second on a table, more are throttled), error (500), unavailable (503 without a body),\n" +
	"invalid-endpoint, validation, access-denied, not-found, conflict, quota, execution, or the class of an error;\n" +
	"cut (connection ended, nothing done), reset, stuck (never answered, nothing done);\n" +
	"lost-answer (done, but the connection is ended or the answer is 500), cut-after, reset-after, truncate (half an answer), stuck-after;\n" +
	"for writes also reject (one record, at random), reject-share (each record), late (counted as magnetic store) and\n" +
	"hide=30s (seen by queries later); for queries empty-page.\n" +
	"The value is a probability such as 0.05 or 5%, 0..0.8..0 with over=2m for one that changes, or 3x for the next three calls of\n" +
	"each operation. latency=20ms, 20ms..80ms, p50:20ms/p99:400ms, normal:20ms/5ms, pareto:20ms/1.5 or 1%:5s delays calls,\n" +
	"latency-after their answers. write.kind, query.kind, CreateTable.kind or Describe*.kind is about those operations only;\n" +
	"without, a kind is about WriteRecords and Query.\n" +
	"Of a rule: table=db.table (with *, several by |), for=30s, after=10s, calls=100, burst=50, text=\"…\",\n" +
	"reason=version (lower-version, window, dimensions, or a text), id=name; seed=7 makes the sequence of faults repeatable."

// The keys of what concerns a whole rule.
const (
	keyID     = "id"
	keyTable  = "table"
	keyAfter  = "after"
	keyFor    = "for"
	keyOver   = "over"
	keyCalls  = "calls"
	keyBurst  = "burst"
	keyText   = "text"
	keyReason = "reason"
	keySeed   = "seed"
)

const (
	maxTextBytes = 2048
	maxPoints    = 100
	maxRate      = 1e9
	maxTables    = 100
	// maxHide is how long the store hides a record at most.
	maxHide = 24 * time.Hour
	idRule  = "an id is 1 to 64 of letters, digits and _.- only"
)

var (
	idPattern    = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
	tablePattern = regexp.MustCompile(`^[A-Za-z0-9_.*-]+$`)
	wordPattern  = regexp.MustCompile(`^[A-Za-z0-9_.:'-]+( [A-Za-z0-9_.:'-]+)*$`)
)

func validID(id string) bool { return idPattern.MatchString(id) }

// parse reads a plan. Those of its rules that have neither an id nor a seed get them later; a rule of nothing but a seed begins
// those of the rules behind it, one by one.
func parse(text string) ([]*rule, error) {
	var rules []*rule
	var base *uint64
	for _, line := range split(uncomment(text), ";\n") {
		r, err := parseRule(line)
		if err != nil {
			return nil, err
		}
		switch {
		case r == nil:
		case len(r.scopes) == 0: // a seed alone
			base = &r.seed
		default:
			if base != nil && !r.seeded {
				r.seed, r.seeded = *base, true
				*base++
			}
			rules = append(rules, r)
		}
	}
	return rules, nil
}

// uncomment takes away what follows a # at the beginning of a word, up to the end of the line; one in a text in quotes is nothing special.
func uncomment(text string) string {
	var out strings.Builder
	quoted, escaped, comment := false, false, false
	for i := range len(text) {
		c := text[i]
		switch {
		case comment:
			comment = c != '\n'
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case !quoted && c == '#' && (i == 0 || strings.IndexByte(" \t\r\n;,", text[i-1]) >= 0):
			comment = true
		}
		if !comment {
			out.WriteByte(c)
		}
	}
	return out.String()
}

// split cuts a text at any of the separators outside of double quotes, in which a backslash takes away the meaning of the next.
func split(text, separators string) []string {
	var out []string
	quoted, escaped, start := false, false, 0
	for i := range len(text) {
		switch c := text[i]; {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case !quoted && strings.IndexByte(separators, c) >= 0:
			out = append(out, text[start:i])
			start = i + 1
		}
	}
	return append(out, text[start:])
}

// parseRule reads one rule; nil when there is nothing. Later entries win.
func parseRule(line string) (*rule, error) {
	r := &rule{}
	any := false
	for _, entry := range split(line, ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		name, value, ok := strings.Cut(entry, "=")
		if !ok {
			return nil, fmt.Errorf("%q: want kind=value", entry)
		}
		own, err := r.setOwn(name, value)
		if !own && err == nil {
			err = r.setKind(name, value)
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w", entry, err)
		}
		any = any || name != keySeed
	}
	switch {
	case !any && !r.seeded:
		return nil, nil
	case !any:
		return r, nil
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("%q: %w", strings.TrimSpace(line), err)
	}
	return r, nil
}

// setOwn reads what concerns the whole rule, and tells whether a key is about that.
func (r *rule) setOwn(name, value string) (own bool, err error) {
	duration := func(to *time.Duration) error {
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 {
			return errors.New("want a duration such as 30s")
		}
		*to = d
		return nil
	}
	count := func(to *int) error {
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil || n < 1 {
			return errors.New("want a number from 1")
		}
		*to = int(n)
		return nil
	}
	phrase := func(to *string) error {
		if strings.HasPrefix(value, `"`) {
			if value, err = strconv.Unquote(value); err != nil {
				return errors.New("the text does not end with its quote")
			}
		}
		if value == "" || len(value) > maxTextBytes {
			return fmt.Errorf("want a text of 1 to %d bytes", maxTextBytes)
		}
		*to = value
		return nil
	}
	switch name {
	case keyID:
		if !validID(value) {
			return true, errors.New(idRule)
		}
		r.id = value
		return true, nil
	case keyTable:
		r.tables = strings.Split(value, "|")
		for _, t := range r.tables {
			if !tablePattern.MatchString(t) {
				return true, errors.New("want database.table, perhaps with *, several by |")
			}
		}
		if len(r.tables) > maxTables {
			return true, fmt.Errorf("%d tables: at most %d", len(r.tables), maxTables)
		}
		return true, nil
	case keyAfter:
		return true, duration(&r.after)
	case keyFor:
		return true, duration(&r.lasts)
	case keyOver:
		return true, duration(&r.over)
	case keyCalls:
		return true, count(&r.calls)
	case keyBurst:
		return true, count(&r.burst)
	case keyText:
		return true, phrase(&r.text)
	case keyReason:
		return true, phrase(&r.reason)
	case keySeed:
		if r.seed, err = strconv.ParseUint(value, 10, 64); err != nil {
			return true, errors.New("want a number from 0")
		}
		r.seeded = true
		return true, nil
	}
	return false, nil
}

// setKind reads how often a kind happens to which operations.
func (r *rule) setKind(name, value string) error {
	pattern, rest, scoped := strings.Cut(name, ".")
	if scoped {
		switch pattern {
		case shortWrite:
			pattern = writeRecords
		case shortQuery:
			pattern = query
		}
		if !slices.ContainsFunc(operations, func(o string) bool { return match(pattern, o) }) {
			return fmt.Errorf("unknown operation %q: want write, query or a name of the API, perhaps with *", pattern)
		}
		name = rest
	}
	k, ok := kindOf(name)
	if !ok {
		return fmt.Errorf("unknown kind %q", name)
	}
	only := k.only()
	patterns := []string{writeRecords, query}
	switch {
	case scoped && only != "" && pattern != only:
		return fmt.Errorf("%s is about %s", k, map[string]string{writeRecords: "writes", query: "queries"}[only])
	case scoped:
		patterns = []string{pattern}
	case only != "":
		patterns = []string{only}
	}
	var v scope
	if err := v.read(k, value); err != nil {
		return err
	}
	for _, p := range patterns {
		s := r.scope(p)
		s.set[k] = true
		s.chances[k] = v.chances[k]
		s.delays[k] = v.delays[k]
		switch k {
		case Rate:
			s.rate = v.rate
		case Hide:
			s.hide = v.hide
		}
	}
	return nil
}

// scope returns what the rule says about a pattern of operations.
func (r *rule) scope(pattern string) *scope {
	for _, s := range r.scopes {
		if s.pattern == pattern {
			return s
		}
	}
	r.scopes = append(r.scopes, &scope{pattern: pattern})
	return r.scopes[len(r.scopes)-1]
}

// read reads the value of a kind.
func (s *scope) read(k Kind, value string) (err error) {
	switch k {
	case Latency, LatencyAfter:
		s.delays[k], err = parseDelay(value)
	case Rate:
		if s.rate, err = parsePoints(strings.TrimSuffix(value, "/s"), maxRate); err != nil {
			err = errors.New("want calls a second such as 100, or 50..500 with over=5m")
		}
	case Hide:
		if s.hide, err = time.ParseDuration(value); err != nil || s.hide < 0 || s.hide > maxHide {
			err = fmt.Errorf("want a duration up to %v such as 30s", maxHide)
		}
	case RejectShare:
		if s.chances[k].points, err = parsePoints(value, 1); err != nil {
			err = errors.New("want a share of the records from 0 to 1")
		}
	default:
		s.chances[k], err = parseChance(value)
	}
	return err
}

func parseChance(value string) (chance, error) {
	if n, ok := strings.CutSuffix(value, "x"); ok {
		next, err := strconv.ParseInt(n, 10, 32)
		if err != nil || next < 1 {
			return chance{}, errors.New("want a number of calls such as 3x")
		}
		return chance{next: int(next)}, nil
	}
	points, err := parsePoints(value, 1)
	if err != nil {
		return chance{}, errors.New("want a probability from 0 to 1, perhaps several such as 0..0.8..0, or a number of calls such as 3x")
	}
	return chance{points: points}, nil
}

// parsePoints reads values with .. between them.
func parsePoints(text string, most float64) ([]float64, error) {
	parts := strings.Split(text, "..")
	if len(parts) > maxPoints {
		return nil, fmt.Errorf("%d values: at most %d", len(parts), maxPoints)
	}
	points := make([]float64, len(parts))
	for i, part := range parts {
		var err error
		if points[i], err = parsePoint(part, most); err != nil {
			return nil, err
		}
	}
	return points, nil
}

// parsePoint reads a number, or a percentage.
func parsePoint(text string, most float64) (float64, error) {
	digits, percent := strings.CutSuffix(text, "%")
	f, err := strconv.ParseFloat(digits, 64)
	if percent {
		f /= 100
	}
	if err != nil || !(f >= 0 && f <= most) { // NaN is neither
		return 0, fmt.Errorf("want a number from 0 to %v", most)
	}
	return f, nil
}

// check finds what does not fit together.
func (r *rule) check() error {
	var has [kinds]bool
	changes := false
	for _, s := range r.scopes {
		for k := range kinds {
			has[k] = has[k] || s.set[k]
			changes = changes || len(s.chances[k].points) > 1
		}
		changes = changes || len(s.rate) > 1
	}
	anyOf := func(from, to Kind) bool { return slices.Contains(has[from:to+1], true) }
	switch {
	case !anyOf(0, kinds-1):
		return errors.New("the rule says nothing that fails")
	case changes && r.over == 0:
		return errors.New("values that change want the time from the first to the last: over=2m")
	case !changes && r.over > 0:
		return errors.New("over is about values that change, such as throttle=0..0.8")
	case r.burst > 0 && !has[Rate]:
		return errors.New("burst is about rate")
	case r.reason != "" && !has[Reject] && !has[RejectShare]:
		return errors.New("reason is about reject and reject-share")
	case r.text != "" && !anyOf(Throttle, Error) && !anyOf(InvalidEndpoint, Execution):
		return errors.New("text is about errors")
	}
	return nil
}

// print returns the rule as parse reads it, with what is left of the numbers of calls; nothing when nothing is. The id is shown if
// somebody gave it, or always.
func (r *rule) print(now time.Time, always bool) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended(now) {
		return ""
	}
	return r.text1(always)
}

// text1 is print without a look at the time. It is called under mu.
func (r *rule) text1(always bool) string {
	var kindsOf []string
	for _, k := range printed {
		kindsOf = r.appendKind(kindsOf, k)
	}
	if len(kindsOf) == 0 {
		return ""
	}
	var out []string
	add := func(key, value string, is bool) {
		if is {
			out = append(out, key+"="+value)
		}
	}
	add(keyID, r.id, always || !r.unnamed && r.id != "")
	add(keyTable, strings.Join(r.tables, "|"), r.tables != nil)
	out = append(out, kindsOf...)
	add(keyOver, r.over.String(), r.over > 0)
	add(keyBurst, strconv.Itoa(r.burst), r.burst > 0)
	add(keyText, phrase(r.text), r.text != "")
	add(keyReason, phrase(r.reason), r.reason != "")
	add(keyAfter, r.after.String(), r.after > 0)
	add(keyFor, r.lasts.String(), r.lasts > 0)
	add(keyCalls, strconv.Itoa(r.calls), r.calls > 0)
	add(keySeed, strconv.FormatUint(r.seed, 10), r.seeded)
	return strings.Join(out, ",")
}

// printed is the order of the kinds in a text.
var printed = [...]Kind{
	Cut, Throttle, Rate, Error, Unavailable, InvalidEndpoint, Validation, AccessDenied, NotFound, Conflict, Quota, Execution, Reset, Stuck,
	Reject, RejectShare, Late, Hide, EmptyPage, LostAnswer, CutAfter, ResetAfter, Truncate, StuckAfter, Latency, LatencyAfter,
}

// appendKind adds what the rule says about a kind.
func (r *rule) appendKind(out []string, k Kind) []string {
	patterns := false
	values := map[string]string{}
	for _, s := range r.scopes {
		if s.set[k] {
			values[s.pattern] = s.value(k)
			patterns = patterns || strings.Contains(s.pattern, "*")
		}
	}
	entry := func(prefix, pattern string) {
		v, set := values[pattern]
		if !set || v == "" && !patterns { // nothing is worth saying where a pattern says something
			return
		}
		if v == "" {
			v = nothing(k)
		}
		out = append(out, prefix+k.String()+"="+v)
	}
	w, isWrite := values[writeRecords]
	q, isQuery := values[query]
	switch {
	case k.only() != "":
		entry("", k.only())
	case isWrite && isQuery && w == q:
		entry("", writeRecords)
	default:
		entry(shortWrite+".", writeRecords)
		entry(shortQuery+".", query)
	}
	for _, s := range r.scopes {
		if s.pattern != writeRecords && s.pattern != query {
			entry(s.pattern+".", s.pattern)
		}
	}
	return out
}

// nothing is how a kind is said not to happen.
func nothing(k Kind) string {
	if k == Latency || k == LatencyAfter || k == Hide {
		return "0s"
	}
	return "0"
}

// value prints how often a kind happens; empty when it does not.
func (s *scope) value(k Kind) string {
	switch k {
	case Latency, LatencyAfter:
		if s.delays[k].none() {
			return ""
		}
		return s.delays[k].String()
	case Rate:
		return points(s.rate)
	case Hide:
		if s.hide == 0 {
			return ""
		}
		return s.hide.String()
	}
	c := &s.chances[k]
	switch {
	case c.next > 0:
		return strconv.Itoa(c.next) + "x"
	case len(c.points) < 2 && c.none():
		return ""
	}
	return points(c.points)
}

func points(list []float64) string {
	var out []string
	for _, p := range list {
		out = append(out, number(p))
	}
	return strings.Join(out, "..")
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// phrase prints a text, in quotes if it has more than words.
func phrase(s string) string {
	if wordPattern.MatchString(s) {
		return s
	}
	return strconv.Quote(s)
}
