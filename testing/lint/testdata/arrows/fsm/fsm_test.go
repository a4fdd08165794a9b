package fsm

import (
	_ "github.com/hashicorp/go-hclog"       // want "must not import"
	_ "github.com/triagemq/triagemq/broker" // want "must not import"
	_ "github.com/triagemq/triagemq/testing/harness"
	_ "pgregory.net/rapid"
)
