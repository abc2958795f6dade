// SPDX-License-Identifier: Apache-2.0

package ingestv1

// PayloadField returns the number of WriteRequest's payload and where it is in m; nil when m is another message. It is
// for codecs that treat the payload, which is nearly all of a request, apart from the other fields.
func PayloadField(m any) (number int32, field *[]byte) {
	if r, ok := m.(*WriteRequest); ok && r != nil {
		return 3, &r.Payload
	}
	return 0, nil
}
