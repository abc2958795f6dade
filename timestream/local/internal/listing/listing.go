// SPDX-License-Identifier: Apache-2.0

// Package listing cuts lists of names into pages, as the operations do whose names begin with List.
//
// It leaves to others what is listed, and how many names a page may have.
package listing

import (
	"encoding/base64"
	"errors"
	"slices"
)

// ErrToken is that a token is none of ours, in the words of the service.
var ErrToken = errors.New("Invalid pagination token") //nolint:staticcheck // the service's own spelling

// Page cuts n of sorted names out. The token is the last name of the page before; that of the next page is nil on the last.
func Page(names []string, token *string, n int) (out []string, next *string, err error) {
	if token != nil && *token != "" {
		last, err := base64.RawURLEncoding.DecodeString(*token)
		if err != nil {
			return nil, nil, ErrToken
		}
		at, found := slices.BinarySearch(names, string(last))
		if found {
			at++
		}
		names = names[at:]
	}
	if len(names) <= n {
		return names, nil, nil
	}
	t := base64.RawURLEncoding.EncodeToString([]byte(names[n-1]))
	return names[:n], &t, nil
}
