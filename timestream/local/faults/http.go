// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"io"
	"net/http"
)

// maxPlanBytes bounds the text of a plan.
const maxPlanBytes = 4096

// ServeHTTP implements http.Handler: GET answers the plan in force, PUT replaces it by the one in the body, DELETE ends
// all faults.
func (i *Injector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPut:
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPlanBytes))
		if err == nil {
			err = i.Set(string(body))
		}
		if err != nil {
			http.Error(w, fmt.Sprintf("%v\n%s", err, Syntax), http.StatusBadRequest)
			return
		}
	case http.MethodDelete:
		i.active.Store(nil)
	default:
		w.Header().Set("Allow", "GET, HEAD, PUT, DELETE")
		http.Error(w, "want GET, PUT or DELETE", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, i.String())
}
