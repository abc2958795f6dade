// SPDX-License-Identifier: Apache-2.0

package client

import "strings"

// CredentialCode tells whether an error code answers a request whose credentials or signature were not accepted, as AWS
// services and what stands in front of them word it (Timestream Developer Guide, "Common errors"). The texts beside these
// codes can repeat the request that was signed, session token included: never show them.
func CredentialCode(code string) bool {
	switch code {
	case "UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId",
		"InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignatureException", "IncompleteSignature",
		"MissingAuthenticationTokenException", "MissingAuthenticationToken",
		"ExpiredTokenException", "ExpiredToken", "RequestExpired",
		"NotAuthorized", "OptInRequired":
		return true
	}
	return false
}

// Withhold returns a text of an endpoint as it may be shown: one that repeats parts of the signed request is replaced. AWS
// does that in answers about signatures only (see CredentialCode), but what stands in front of it may do so in any answer.
func Withhold(text string) string {
	lower := strings.ToLower(text)
	for _, sign := range []string{"aws4-hmac-sha256", "x-amz-security-token", "credential=", "signature="} {
		if strings.Contains(lower, sign) {
			return "(a text that repeats the signed request is not shown)"
		}
	}
	return text
}
