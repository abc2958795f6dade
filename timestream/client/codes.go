// SPDX-License-Identifier: Apache-2.0

package client

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
