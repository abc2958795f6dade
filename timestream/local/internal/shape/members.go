// SPDX-License-Identifier: Apache-2.0

package shape

import (
	"regexp"
	"strconv"

	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream"
)

// Constraints of members that several operations have.

const (
	// ARNPrefix begins all ARNs of the service.
	ARNPrefix = "arn:aws:timestream:"
	// MaxTags is the number of tags of a resource, and of one request (API reference, TagResource).
	MaxTags = 200
	// maxKeyID is the length of the id of a KMS key (API reference, CreateDatabase).
	maxKeyID    = 2048
	maxTagKey   = 128
	maxTagValue = 256
	maxARN      = 2048 // the Query API's; the Write API's is 1011, which no name that exists comes near

	shownNamePattern   = "[a-zA-Z0-9_.-]+"
	shownBucketPattern = `[a-z0-9][\.\-a-z0-9]{1,61}[a-z0-9]`
	shownKeyPattern    = `[a-zA-Z0-9|!\-_*'\(\)]([a-zA-Z0-9]|[!\-_*'\(\)\/.])+`
)

var (
	namePattern   = regexp.MustCompile("^" + shownNamePattern + "$")
	bucketPattern = regexp.MustCompile("^(?:" + shownBucketPattern + ")$")
	keyPattern    = regexp.MustCompile("^(?:" + shownKeyPattern + ")$")
)

// Name checks the name of a database or table that has to exist, and returns it: all that is wrong with one is that there is none.
func (v *Violations) Name(s *string, member string) string {
	if s == nil || *s == "" {
		v.Null(member)
		return ""
	}
	return *s
}

// NewName checks the name of a database or table to be made, and returns it (API reference, CreateDatabase and CreateTable).
func (v *Violations) NewName(s *string, member string) string {
	out := v.Text(s, true, timestream.MinNameBytes, timestream.MaxNameBytes, member)
	v.NameCharacters(s, member)
	return out
}

// NameCharacters checks the characters of the name of a database or table that is there.
func (v *Violations) NameCharacters(s *string, member string) {
	v.Pattern(s, namePattern, shownNamePattern, member)
}

// Filled checks a text that must not be empty and may have any length.
func (v *Violations) Filled(s *string, required bool, member string) {
	n := 0
	if s != nil {
		n = len(*s)
	}
	v.Text(s, required, 1, n, member)
}

// Statement checks the length of a statement, in bytes.
func (v *Violations) Statement(s *string, member string) {
	if s == nil {
		v.Null(member)
		return
	}
	v.Length(len(*s), 1, timestream.MaxQueryBytes, *s, member)
}

// ARN checks an ARN that has to be there, and returns it.
func (v *Violations) ARN(s *string, member string) string { return v.Text(s, true, 1, maxARN, member) }

// KMSKey checks the id of a KMS key, and returns it.
func (v *Violations) KMSKey(s *string, required bool, member string) string {
	return v.Text(s, required, 1, maxKeyID, member)
}

// Bucket checks the name of a bucket.
func (v *Violations) Bucket(s *string, required bool, member string) {
	v.Text(s, required, 3, 63, member)
	v.Pattern(s, bucketPattern, shownBucketPattern, member)
}

// Key checks the key of an object in a bucket, or what keys begin with; the names of scheduled queries have its characters, too.
func (v *Violations) Key(s *string, required bool, most int, member string) {
	v.Text(s, required, 1, most, member)
	v.Pattern(s, keyPattern, shownKeyPattern, member)
}

// Tags checks the tags of a request.
func (v *Violations) Tags(tags []wtypes.Tag) {
	const member = "tags"
	v.Length(len(tags), 0, MaxTags, "", member)
	for i := range tags {
		path := member + "." + strconv.Itoa(i+1) + ".member"
		v.TagKey(tags[i].Key, path+".key")
		v.Text(tags[i].Value, true, 0, maxTagValue, path+".value")
	}
}

// TagKey checks the key of a tag.
func (v *Violations) TagKey(s *string, member string) { v.Text(s, true, 1, maxTagKey, member) }
