package guard

import (
	_ "github.com/hashicorp/raft"
	_ "github.com/triagemq/triagemq/broker" // want "must not import"
	_ "github.com/triagemq/triagemq/cluster"
	_ "github.com/triagemq/triagemq/fsm" // want "must not import"
	_ "github.com/triagemq/triagemq/transport/mux"
	_ "github.com/triagemq/triagemq/transport/wire" // want "must not import"
)
