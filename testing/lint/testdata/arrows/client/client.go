package client

import (
	_ "github.com/hashicorp/go-hclog" // want "must not import"
	_ "github.com/rabbitmq/amqp091-go"
	_ "github.com/triagemq/triagemq/client/internal"
	_ "github.com/triagemq/triagemq/cmd/triagemq/node" // want "must not import"
	_ "github.com/triagemq/triagemq/fsm/content"       // want "must not import"
	_ "github.com/triagemq/triagemq/transport/wire"
)
