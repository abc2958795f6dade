// SPDX-License-Identifier: Apache-2.0

package local

import (
	"strconv"

	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/internal/shape"
)

// checkProperties checks what CreateTable and UpdateTable say of a table's settings; members that are absent are nil.
func checkProperties(v *shape.Violations, r *wtypes.RetentionProperties, m *wtypes.MagneticStoreWriteProperties, s *wtypes.Schema) {
	if r != nil {
		for _, c := range []struct {
			value  *int64
			limit  int64
			member string
		}{
			{r.MemoryStoreRetentionPeriodInHours, maxMemoryHours, "retentionProperties.memoryStoreRetentionPeriodInHours"},
			{r.MagneticStoreRetentionPeriodInDays, maxMagneticDays, "retentionProperties.magneticStoreRetentionPeriodInDays"},
		} {
			if c.value == nil {
				v.Null(c.member)
			}
			shape.Number(v, c.value, 1, c.limit, c.member)
		}
	}
	if m != nil {
		const member = "magneticStoreWriteProperties"
		if m.EnableMagneticStoreWrites == nil {
			v.Null(member + ".enableMagneticStoreWrites")
		}
		if l := m.MagneticStoreRejectedDataLocation; l != nil && l.S3Configuration != nil {
			const member = member + ".magneticStoreRejectedDataLocation.s3Configuration"
			c := l.S3Configuration
			v.Text(c.BucketName, false, 3, 63, member+".bucketName")
			v.Text(c.ObjectKeyPrefix, false, 1, 928, member+".objectKeyPrefix")
			shape.Enum(v, c.EncryptionOption, member+".encryptionOption", wtypes.S3EncryptionOptionSseS3, wtypes.S3EncryptionOptionSseKms)
			v.KMSKey(c.KmsKeyId, false, member+".kmsKeyId")
		}
	}
	if s == nil || s.CompositePartitionKey == nil {
		return
	}
	const member = "schema.compositePartitionKey"
	v.Length(len(s.CompositePartitionKey), 1, len(s.CompositePartitionKey), "[]", member)
	for i := range s.CompositePartitionKey {
		k, path := &s.CompositePartitionKey[i], member+"."+strconv.Itoa(i+1)+".member"
		if k.Type == "" {
			v.Null(path + ".type")
		}
		shape.Enum(v, k.Type, path+".type", wtypes.PartitionKeyTypeDimension, wtypes.PartitionKeyTypeMeasure)
		if k.Name != nil {
			v.Length(len(*k.Name), 1, len(*k.Name), "", path+".name")
		}
		shape.Enum(v, k.EnforcementInRecord, path+".enforcementInRecord", wtypes.PartitionKeyEnforcementLevelRequired, wtypes.PartitionKeyEnforcementLevelOptional)
	}
}

// change takes over what a request says of retention and magnetic-store writes.
func (p *properties) change(r *wtypes.RetentionProperties, m *wtypes.MagneticStoreWriteProperties) {
	if r != nil {
		p.memoryHours, p.magneticDays = *r.MemoryStoreRetentionPeriodInHours, *r.MagneticStoreRetentionPeriodInDays
	}
	if m != nil {
		p.magneticWrites, p.rejectedTo = *m.EnableMagneticStoreWrites, m.MagneticStoreRejectedDataLocation
	}
}

// setPartitionKey takes over the one partition key of a schema (Developer Guide, customer-defined-partition-keys). What it
// leaves out of the enforcement stays as it was, which for a new table is OPTIONAL.
func (p *properties) setPartitionKey(s *wtypes.Schema) error {
	if s == nil || len(s.CompositePartitionKey) == 0 {
		return nil
	}
	if len(s.CompositePartitionKey) > 1 {
		return writeInvalid(textManyKeys)
	}
	k := s.CompositePartitionKey[0]
	switch k.Type {
	case wtypes.PartitionKeyTypeMeasure:
		if k.Name != nil || k.EnforcementInRecord != "" {
			return writeInvalid(textMeasureKey)
		}
	case wtypes.PartitionKeyTypeDimension:
		if !validDimension(str(k.Name)) {
			return writeInvalid(textDimensionKey)
		}
		if k.EnforcementInRecord == "" {
			k.EnforcementInRecord = p.partitionKey.EnforcementInRecord
		}
		if k.EnforcementInRecord == "" {
			k.EnforcementInRecord = wtypes.PartitionKeyEnforcementLevelOptional
		}
	}
	p.partitionKey = k
	return nil
}

// requiredKey is the dimension that every record must have, nil when there is none.
func (p *properties) requiredKey() *wtypes.PartitionKey {
	if k := &p.partitionKey; k.Type == wtypes.PartitionKeyTypeDimension && k.EnforcementInRecord == wtypes.PartitionKeyEnforcementLevelRequired {
		return k
	}
	return nil
}
