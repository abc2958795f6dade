// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"time"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
)

func compile(string, Catalog, time.Time) (*Plan, error) {
	text := "The query syntax is invalid at line 1:1"
	return nil, &qtypes.ValidationException{Message: &text}
}
