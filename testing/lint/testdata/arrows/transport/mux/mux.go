package mux

import (
	_ "github.com/hashicorp/go-hclog"
	_ "github.com/triagemq/triagemq/cluster" // want "must not import"
	_ "github.com/triagemq/triagemq/fsm"     // want "must not import"
	_ "github.com/triagemq/triagemq/transport/mux/frame"
)
