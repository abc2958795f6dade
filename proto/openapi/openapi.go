// SPDX-License-Identifier: Apache-2.0

// Package openapi holds the OpenAPI document of the JSON mapping, generated from the proto files. Serving it is left
// to the gateway.
package openapi

import _ "embed"

// Document is the OpenAPI 2.0 document, as JSON.
//
//go:embed tributary.swagger.json
var Document []byte
