//go:build !race

package cluster

import "testing"

func skipUnderRace(*testing.T) {}
