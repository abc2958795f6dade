// SPDX-License-Identifier: Apache-2.0

package local

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/shape"
)

// The settings of the account are kept and shown. Nothing here is faster or slower for them.

const (
	// defaultTCU is MaxQueryTCU of an account that never set it; minTCU and maxTCU bound it, in multiples of minTCU (Developer
	// Guide, tcu).
	defaultTCU = 200
	minTCU     = 4
	maxTCU     = 1000
	// provisionedRegion is the only one with provisioned compute units (Developer Guide, provisioned-tcu).
	provisionedRegion = "ap-south-1"
)

// accountSettings is what UpdateAccountSettings changed; it is stored as JSON.
type accountSettings struct {
	MaxQueryTCU int32
	// PricingModel is empty until it was changed.
	PricingModel qtypes.QueryPricingModel `json:",omitempty"`
	ComputeMode  qtypes.ComputeMode
	// Provisioned and Notification are those of ComputeMode PROVISIONED.
	Provisioned  int32                                            `json:",omitempty"`
	Notification *qtypes.AccountSettingsNotificationConfiguration `json:",omitempty"`
}

// accountKey is the row of cat_meta that holds the settings.
const accountKey = "account"

// loadAccount takes over what is stored, the defaults where nothing is.
func (db *DB) loadAccount(stored string) error {
	s := &accountSettings{MaxQueryTCU: defaultTCU, ComputeMode: qtypes.ComputeModeOnDemand}
	if stored != "" {
		if err := json.Unmarshal([]byte(stored), s); err != nil {
			return fmt.Errorf("account settings: %w", err)
		}
	}
	db.account.Store(s)
	return nil
}

// pricingModel is by what queries are charged.
func (db *DB) pricingModel(s *accountSettings) qtypes.QueryPricingModel {
	return cmp.Or(s.PricingModel, db.cfg.Cost.PricingModel)
}

func (s *accountSettings) compute() *qtypes.QueryComputeResponse {
	c := &qtypes.QueryComputeResponse{ComputeMode: s.ComputeMode}
	if s.ComputeMode == qtypes.ComputeModeProvisioned {
		tcu := s.Provisioned
		c.ProvisionedCapacity = &qtypes.ProvisionedCapacityResponse{
			ActiveQueryTCU: &tcu, NotificationConfiguration: s.Notification,
			LastUpdate: &qtypes.LastUpdate{Status: qtypes.LastUpdateStatusSucceeded, TargetQueryTCU: &tcu},
		}
	}
	return c
}

// DescribeAccountSettings shows the settings (API reference, DescribeAccountSettings).
func (db *DB) DescribeAccountSettings(context.Context, *timestreamquery.DescribeAccountSettingsInput, ...QueryOption) (*timestreamquery.DescribeAccountSettingsOutput, error) {
	if err := db.allowQuery("DescribeAccountSettings"); err != nil {
		return nil, err
	}
	s := *db.account.Load()
	return &timestreamquery.DescribeAccountSettingsOutput{MaxQueryTCU: &s.MaxQueryTCU, QueryPricingModel: db.pricingModel(&s), QueryCompute: s.compute()}, nil
}

// UpdateAccountSettings changes the settings that it is given (API reference, UpdateAccountSettings). The pricing model can only become
// COMPUTE_UNITS, and PROVISIONED is the compute mode of one region.
func (db *DB) UpdateAccountSettings(ctx context.Context, in *timestreamquery.UpdateAccountSettingsInput, _ ...QueryOption) (*timestreamquery.UpdateAccountSettingsOutput, error) {
	if err := db.allowQuery("UpdateAccountSettings"); err != nil {
		return nil, err
	}
	if err := db.checkAccount(in); err != nil {
		return nil, err
	}
	var s accountSettings
	err := db.change(ctx, func(c *duck.Conn) error {
		s = *db.account.Load()
		if in.MaxQueryTCU != nil {
			s.MaxQueryTCU = *in.MaxQueryTCU
		}
		if in.QueryPricingModel != "" {
			s.PricingModel = in.QueryPricingModel
		}
		if q := in.QueryCompute; q != nil && q.ComputeMode != "" {
			s.ComputeMode, s.Provisioned, s.Notification = q.ComputeMode, 0, nil
			if p := q.ProvisionedCapacity; p != nil {
				s.Provisioned, s.Notification = *p.TargetQueryTCU, p.NotificationConfiguration
			}
		}
		b, err := json.Marshal(s)
		if err != nil {
			return err
		}
		return c.Exec(fmt.Sprintf("DELETE FROM cat_meta WHERE k = %s; INSERT INTO cat_meta VALUES (%s, %s)", literal(accountKey), literal(accountKey), literal(string(b))))
	}, func() { db.account.Store(&s) })
	if err != nil {
		var internal *wtypes.InternalServerException
		if errors.As(err, &internal) {
			return nil, queryInternal()
		}
		return nil, err
	}
	return &timestreamquery.UpdateAccountSettingsOutput{MaxQueryTCU: &s.MaxQueryTCU, QueryPricingModel: db.pricingModel(&s), QueryCompute: s.compute()}, nil
}

func (db *DB) checkAccount(in *timestreamquery.UpdateAccountSettingsInput) error {
	var v shape.Violations
	shape.Enum(&v, in.QueryPricingModel, "queryPricingModel", qtypes.QueryPricingModelBytesScanned, qtypes.QueryPricingModelComputeUnits)
	var p *qtypes.ProvisionedCapacityRequest
	if q := in.QueryCompute; q != nil {
		shape.Enum(&v, q.ComputeMode, "queryCompute.computeMode", qtypes.ComputeModeOnDemand, qtypes.ComputeModeProvisioned)
		if p = q.ProvisionedCapacity; p != nil {
			const member = "queryCompute.provisionedCapacity"
			if p.TargetQueryTCU == nil {
				v.Null(member + ".targetQueryTCU")
			}
			shape.Number(&v, p.TargetQueryTCU, minTCU, maxTCU, member+".targetQueryTCU")
			if n := p.NotificationConfiguration; n != nil && n.RoleArn == nil {
				v.Null(member + ".notificationConfiguration.roleArn")
			}
		}
	}
	if err := v.AsQuery(); err != nil {
		return err
	}
	if n := in.MaxQueryTCU; n != nil && (*n < minTCU || *n > maxTCU || *n%minTCU != 0) {
		return queryInvalid("MaxQueryTCU is %d: it must be a multiple of %d from %d to %d.", *n, minTCU, minTCU, maxTCU)
	}
	if in.QueryPricingModel == qtypes.QueryPricingModelBytesScanned {
		return queryInvalid("The pricing model can only be changed to COMPUTE_UNITS.")
	}
	switch provisioned := in.QueryCompute != nil && in.QueryCompute.ComputeMode == qtypes.ComputeModeProvisioned; {
	case provisioned && db.cfg.Region != provisionedRegion:
		return queryInvalid("The compute mode PROVISIONED is not available in the region %s.", db.cfg.Region)
	case provisioned && p == nil:
		return queryInvalid("The compute mode PROVISIONED needs ProvisionedCapacity.")
	case !provisioned && p != nil:
		return queryInvalid("ProvisionedCapacity needs the compute mode PROVISIONED.")
	}
	return nil
}
