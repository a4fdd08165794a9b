package sim

import (
	_ "github.com/triagemq/triagemq/cluster"
	_ "github.com/triagemq/triagemq/cmd/triagemq/node"
	_ "github.com/triagemq/triagemq/fsm"
)
