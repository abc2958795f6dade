// SPDX-License-Identifier: Apache-2.0

// Package batch makes WriteRecords requests of samples and whatever else records store: sorted so that neighbours have much
// in common, repeats removed, and what all records of a request share sent once. A request comes as the JSON document that
// the API takes, or as the input of the SDK's client. Sending it is left to others.
package batch
