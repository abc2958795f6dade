// SPDX-License-Identifier: Apache-2.0

package client

import (
	"fmt"
	"log/slog"

	"github.com/aws/smithy-go/logging"
)

// sdkLogger passes on what the SDK logs.
type sdkLogger struct{ *slog.Logger }

// Logf implements logging.Logger.
func (l sdkLogger) Logf(c logging.Classification, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if c == logging.Warn {
		l.Warn("AWS SDK: " + text)
		return
	}
	l.Debug("AWS SDK: " + text)
}
