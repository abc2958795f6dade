// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxPlanBytes bounds the text of a plan.
const maxPlanBytes = 64 << 10

// Status is a rule as the endpoint tells it in JSON.
type Status struct {
	ID string `json:"id"`
	// Rule is its text, with what is left of numbers of calls; empty when nothing is.
	Rule string `json:"rule"`
	// Active tells that it is in force: it has begun and not ended.
	Active bool `json:"active"`
	// Ended tells that its time or its calls are over.
	Ended bool `json:"ended"`
	// EndsIn is how long it is in force yet; empty without an end.
	EndsIn string `json:"endsIn,omitempty"`
	// Calls are those that it was about, Hits what happened to them, by operation and kind.
	Calls int                       `json:"calls"`
	Hits  map[string]map[string]int `json:"hits"`
}

// Rules returns all rules in their order, those that have ended too.
func (i *Injector) Rules() []Status {
	now := i.now()
	out := []Status{}
	for _, r := range i.rules() {
		out = append(out, r.status(now))
	}
	return out
}

func (r *rule) status(now time.Time) Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Status{ID: r.id, Rule: r.text1(false), Calls: r.seen, Hits: map[string]map[string]int{}}
	s.Ended = s.Rule == "" || r.ended(now)
	s.Active = !s.Ended && now.Sub(r.since) >= r.after
	if r.lasts > 0 && !s.Ended {
		s.EndsIn = (r.after + r.lasts - now.Sub(r.since)).Round(time.Millisecond).String()
	}
	for h, n := range r.hits {
		of := s.Hits[Short(h.operation)]
		if of == nil {
			of = map[string]int{}
			s.Hits[Short(h.operation)] = of
		}
		of[h.kind.String()] = n
	}
	return s
}

// ServeHTTP implements http.Handler for a path and those below it, which are the ids of rules: GET answers the rules in force, one a
// line, or all of them with their counters in JSON if that is asked for (Accept: application/json). PUT replaces them by those of the
// body, POST adds to them, DELETE ends them. The body is their text, or in JSON {"rule": text, "id": name} or a list of these.
func (i *Injector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var id string
	if at := strings.LastIndexByte(r.URL.Path, '/'); at > 0 {
		id = r.URL.Path[at+1:]
	}
	var err error
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPut, http.MethodPost:
		var body []byte
		var text string
		body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxPlanBytes))
		if err == nil {
			text, err = planText(body)
		}
		switch {
		case err != nil:
		case r.Method == http.MethodPost && id != "":
			methodNotAllowed(w, "GET, HEAD, PUT, DELETE")
			return
		case r.Method == http.MethodPost:
			err = i.Add(text)
		case id != "":
			err = i.SetRule(id, text)
		default:
			err = i.Set(text)
		}
		if err != nil {
			http.Error(w, fmt.Sprintf("%v\n%s", err, Syntax), http.StatusBadRequest)
			return
		}
	case http.MethodDelete:
		if id == "" {
			err = i.Set("")
		} else if !i.Remove(id) {
			noRule(w, id)
			return
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		id = "" // what is left is shown
	default:
		methodNotAllowed(w, "GET, HEAD, PUT, POST, DELETE")
		return
	}
	i.show(w, r, id)
}

func methodNotAllowed(w http.ResponseWriter, allow string) {
	w.Header().Set("Allow", allow)
	http.Error(w, "want "+strings.Replace(allow, "HEAD, ", "", 1), http.StatusMethodNotAllowed)
}

func noRule(w http.ResponseWriter, id string) {
	http.Error(w, fmt.Sprintf("there is no rule %q", id), http.StatusNotFound)
}

// show answers with all rules, or one.
func (i *Injector) show(w http.ResponseWriter, r *http.Request, id string) {
	rules := i.Rules()
	if id != "" {
		if rules = slices.DeleteFunc(rules, func(s Status) bool { return s.ID != id }); len(rules) == 0 {
			noRule(w, id)
			return
		}
	}
	if !strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if id == "" {
			fmt.Fprintln(w, i.print("\n", true))
		} else {
			fmt.Fprintln(w, rules[0].Rule)
		}
		return
	}
	w.Header().Set("Content-Type", "application/json")
	var out any = struct {
		Rules []Status `json:"rules"`
	}{rules}
	if id != "" {
		out = rules[0]
	}
	_ = json.NewEncoder(w).Encode(out) //nolint:errcheck // nobody is there to read it
}

// planText returns the text of a body, which may be JSON.
func planText(body []byte) (string, error) {
	type item struct {
		ID   string `json:"id"`
		Rule string `json:"rule"`
	}
	var list []item
	switch text := strings.TrimSpace(string(body)); {
	case strings.HasPrefix(text, "["):
		if err := json.Unmarshal(body, &list); err != nil {
			return "", fmt.Errorf("the list of rules: %w", err)
		}
	case strings.HasPrefix(text, "{"):
		var one struct {
			item
			Rules []item `json:"rules"`
		}
		if err := json.Unmarshal(body, &one); err != nil {
			return "", fmt.Errorf("the rule: %w", err)
		}
		if list = one.Rules; list == nil {
			list = []item{one.item}
		}
	default:
		return string(body), nil
	}
	var out []string
	for _, x := range list {
		if len(split(x.Rule, ";\n")) != 1 {
			return "", errors.New("want one rule in each item of the list")
		}
		if x.ID != "" {
			if !validID(x.ID) {
				return "", fmt.Errorf("%q: %s", x.ID, idRule)
			}
			x.Rule += "," + keyID + "=" + x.ID
		}
		out = append(out, x.Rule)
	}
	return strings.Join(out, "\n"), nil
}
