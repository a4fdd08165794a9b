package wire

import (
	_ "github.com/triagemq/triagemq/fsm/content"
	_ "github.com/triagemq/triagemq/transport/amqp" // want "must not import"
	_ "github.com/triagemq/triagemq/transport/mux"  // want "must not import"
)
