// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/otlptranslator"

	"github.com/tributary-project/tributary/services/ingest/internal/otlp"
	"github.com/tributary-project/tributary/timestream"
)

// DeltaConverter makes OTLP metrics with delta temporality cumulative. That takes a memory of each stream, so only a process
// that sees all of a stream's data points can have one.
type DeltaConverter = otlp.DeltaConverter

// OTLPConfig says how OTLP metrics become series. Its fields, but for the last one, are those of the otlp block of Prometheus'
// configuration, with the same defaults.
type OTLPConfig struct {
	// TranslationStrategy is one of otlpStrategies.
	TranslationStrategy string
	// PromoteResourceAttributes become labels of all series of a resource, or with PromoteAllResourceAttributes all but
	// IgnoreResourceAttributes. Comma-separated.
	PromoteResourceAttributes    string
	PromoteAllResourceAttributes bool
	IgnoreResourceAttributes     string
	// KeepIdentifyingResourceAttributes leaves service.name, service.namespace and service.instance.id among the labels of
	// target_info.
	KeepIdentifyingResourceAttributes bool
	// ConvertHistogramsToNHCB makes native histograms with custom buckets of those with explicit ones.
	ConvertHistogramsToNHCB bool
	// PromoteScopeMetadata makes labels of the scope's name, version, schema URL and attributes.
	PromoteScopeMetadata bool
	// LabelNameUnderscoreSanitization puts "key" before label names that begin with one underscore, and
	// LabelNamePreserveMultipleUnderscores leaves several in a row; both where names are escaped.
	LabelNameUnderscoreSanitization, LabelNamePreserveMultipleUnderscores bool
	// NativeDelta stores metrics with delta temporality as they are.
	NativeDelta bool
}

// DefaultOTLPConfig returns the defaults, which are also those of the flags and of Prometheus.
func DefaultOTLPConfig() OTLPConfig {
	return OTLPConfig{
		TranslationStrategy:                  string(otlptranslator.UnderscoreEscapingWithSuffixes),
		LabelNameUnderscoreSanitization:      true,
		LabelNamePreserveMultipleUnderscores: true,
	}
}

// otlpStrategies are the translation strategies that Prometheus has.
func otlpStrategies() []string {
	return []string{
		string(otlptranslator.UnderscoreEscapingWithSuffixes), string(otlptranslator.NoUTF8EscapingWithSuffixes),
		string(otlptranslator.UnderscoreEscapingWithoutSuffixes), string(otlptranslator.NoTranslation),
	}
}

// RegisterFlags registers the flags with the present values as defaults.
func (c *OTLPConfig) RegisterFlags(fs *flag.FlagSet) {
	const as = " As %s in the otlp block of Prometheus' configuration."
	str := func(p *string, name, setting, usage string) {
		fs.StringVar(p, "otlp."+name, *p, usage+fmt.Sprintf(as, setting))
	}
	boolean := func(p *bool, name, setting, usage string) {
		fs.BoolVar(p, "otlp."+name, *p, usage+fmt.Sprintf(as, setting))
	}
	str(&c.TranslationStrategy, "translation-strategy", "translation_strategy", "How names of OTLP metrics and attributes become names of metrics and labels: "+strings.Join(otlpStrategies(), ", ")+".")
	str(&c.PromoteResourceAttributes, "promote-resource-attributes", "promote_resource_attributes", "Attributes of OTLP resources, comma-separated, that become labels of all their series.")
	boolean(&c.PromoteAllResourceAttributes, "promote-all-resource-attributes", "promote_all_resource_attributes", "Make labels of all attributes of OTLP resources, but for --otlp.ignore-resource-attributes.")
	str(&c.IgnoreResourceAttributes, "ignore-resource-attributes", "ignore_resource_attributes", "Attributes of OTLP resources, comma-separated, that --otlp.promote-all-resource-attributes leaves out.")
	boolean(&c.KeepIdentifyingResourceAttributes, "keep-identifying-resource-attributes", "keep_identifying_resource_attributes", "Keep service.name, service.namespace and service.instance.id as labels of target_info, beside job and instance.")
	boolean(&c.ConvertHistogramsToNHCB, "convert-histograms-to-nhcb", "convert_histograms_to_nhcb", "Store OTLP histograms with explicit buckets as native histograms with custom buckets, not as classic histograms.")
	boolean(&c.PromoteScopeMetadata, "promote-scope-metadata", "promote_scope_metadata", "Make labels of the name, version, schema URL and attributes of OTLP scopes.")
	boolean(&c.LabelNameUnderscoreSanitization, "label-name-underscore-sanitization", "label_name_underscore_sanitization", "Put key before label names that begin with one underscore, where names are escaped.")
	boolean(&c.LabelNamePreserveMultipleUnderscores, "label-name-preserve-multiple-underscores", "label_name_preserve_multiple_underscores", "Leave several underscores in a row in label names, where names are escaped.")
	fs.BoolVar(&c.NativeDelta, "otlp.native-delta", c.NativeDelta, "Store OTLP metrics with delta temporality as they are, of unknown type. The default is to reject them. As the feature flag otlp-native-delta-ingestion of Prometheus.")
}

// Validate names everything that is wrong with the configuration.
func (c OTLPConfig) Validate() error {
	var errs []error
	if !slices.Contains(otlpStrategies(), c.TranslationStrategy) {
		errs = append(errs, fmt.Errorf("--otlp.translation-strategy=%q: want one of %s", c.TranslationStrategy, strings.Join(otlpStrategies(), ", ")))
	}
	names := func(flagName, list string) {
		if list == "" {
			return
		}
		seen := make(map[string]bool)
		for name := range strings.SplitSeq(list, ",") {
			name = strings.TrimSpace(name)
			switch {
			case name == "":
				errs = append(errs, fmt.Errorf("--%s=%q: an empty name", flagName, list))
			case seen[name]:
				errs = append(errs, fmt.Errorf("--%s: %q occurs twice", flagName, name))
			}
			seen[name] = true
		}
	}
	names("otlp.promote-resource-attributes", c.PromoteResourceAttributes)
	names("otlp.ignore-resource-attributes", c.IgnoreResourceAttributes)
	if c.PromoteAllResourceAttributes && c.PromoteResourceAttributes != "" {
		errs = append(errs, errors.New("--otlp.promote-resource-attributes: has no place beside --otlp.promote-all-resource-attributes"))
	}
	if !c.PromoteAllResourceAttributes && c.IgnoreResourceAttributes != "" {
		errs = append(errs, errors.New("--otlp.ignore-resource-attributes: has no meaning without --otlp.promote-all-resource-attributes"))
	}
	return errors.Join(errs...)
}

// labelBytesPerByte relates what the labels of a message's series may take to the size of a message: in OTLP series share
// the attributes of their resource, and all buckets of a histogram those of a data point.
const labelBytesPerByte = 4

// otlpOptions are those of the decoder of OTLP messages.
func (c ServiceConfig) otlpOptions(delta DeltaConverter) otlp.Options {
	o := otlp.Options{
		MaxSamples:      c.MaxSamples,
		MaxLabelBytes:   labelBytesPerByte * int(c.MaxDecompressedBytes),
		MaxTimeMs:       timestream.MaxTimeMs,
		RejectNonFinite: c.FailOnInvalidSampleValue,

		Strategy:                             otlptranslator.TranslationStrategyOption(c.OTLP.TranslationStrategy),
		PromoteResourceAttributes:            split(c.OTLP.PromoteResourceAttributes),
		PromoteAllResourceAttributes:         c.OTLP.PromoteAllResourceAttributes,
		IgnoreResourceAttributes:             split(c.OTLP.IgnoreResourceAttributes),
		KeepIdentifyingResourceAttributes:    c.OTLP.KeepIdentifyingResourceAttributes,
		ConvertHistogramsToNHCB:              c.OTLP.ConvertHistogramsToNHCB,
		PromoteScopeMetadata:                 c.OTLP.PromoteScopeMetadata,
		LabelNameUnderscoreSanitization:      c.OTLP.LabelNameUnderscoreSanitization,
		LabelNamePreserveMultipleUnderscores: c.OTLP.LabelNamePreserveMultipleUnderscores,
		NativeDelta:                          c.OTLP.NativeDelta,
		Delta:                                delta,
	}
	if c.FailOnLongLabel {
		o.MaxMetricNameBytes = timestream.MaxMeasureNameBytes
	}
	return o
}
