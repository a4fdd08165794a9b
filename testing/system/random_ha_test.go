//go:build ha

package system

import (
	"testing"
	"time"

	"github.com/triagemq/triagemq/testing/harness"
)

// TestHARandomFaults is TestRandomFaults for five minutes, or for TRIAGEMQ_RANDOM_SECONDS.
func TestHARandomFaults(t *testing.T) {
	runRandom(t, harness.Start(t, 3), nil, 5*time.Minute)
}
