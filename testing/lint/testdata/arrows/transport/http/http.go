package http

import (
	_ "github.com/triagemq/triagemq/broker"
	_ "github.com/triagemq/triagemq/cmd/triagemq/node" // want "must not import"
	_ "github.com/triagemq/triagemq/transport/amqp"    // want "must not import"
	_ "github.com/triagemq/triagemq/transport/http/ui"
)
