package broker

import (
	_ "github.com/triagemq/triagemq/broker/arena"
	_ "github.com/triagemq/triagemq/cluster"           // want "must not import"
	_ "github.com/triagemq/triagemq/cmd/triagemq/node" // want "must not import"
	_ "github.com/triagemq/triagemq/fsm/store"
	_ "github.com/triagemq/triagemq/transport/wire" // want "must not import"
)
