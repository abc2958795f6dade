// SPDX-License-Identifier: Apache-2.0

package metering

import "fmt"

// Rule is a reading of what a write request weighs. The sources differ, so that a bill lies between the first and the last.
type Rule int

const (
	// Guide is the formula of the Developer Guide, "Metering and pricing": names count. It is the highest, so the one to budget with.
	Guide Rule = iota
	// Announced leaves the names out, as AWS announced in July 2022.
	Announced
	// Least also counts a dimension that several records of a request have only once, as the pricing page says: what repeats in a
	// batch is found, whether or not it stands in CommonAttributes.
	Least
	// Rules is the number of rules.
	Rules
)

var ruleNames = [Rules]string{Guide: "guide", Announced: "announced", Least: "least"}

func (r Rule) String() string {
	if r < 0 || r >= Rules {
		return fmt.Sprintf("Rule(%d)", int(r))
	}
	return ruleNames[r]
}

// Set reads a rule, for package flag.
func (r *Rule) Set(s string) error {
	for i, name := range ruleNames {
		if name == s {
			*r = Rule(i)
			return nil
		}
	}
	return fmt.Errorf("want guide, announced or least")
}

// Of is what is charged of something that is stored or scanned: only requests have repetitions.
func (r Rule) Of(s Size) int64 {
	if r == Guide {
		return s.WithNames()
	}
	return s.Values
}

// Request is the weight of one WriteRecords request, or the sum of several.
type Request struct {
	// Size is what was sent, with what is common counted once.
	Size Size
	// Repeated are the values of dimensions that an earlier record of the same request has as well.
	Repeated int64
}

// Bytes is the weight by a rule.
func (r Request) Bytes(rule Rule) int64 {
	if rule == Least {
		return r.Size.Values - r.Repeated
	}
	return rule.Of(r.Size)
}
