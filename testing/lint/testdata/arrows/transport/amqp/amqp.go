package amqp

import (
	_ "github.com/triagemq/triagemq/broker"
	_ "github.com/triagemq/triagemq/cluster" // want "must not import"
	_ "github.com/triagemq/triagemq/fsm"
	_ "github.com/triagemq/triagemq/transport/http" // want "must not import"
	_ "github.com/triagemq/triagemq/transport/mux"  // want "must not import"
	_ "github.com/triagemq/triagemq/transport/wire"
)
