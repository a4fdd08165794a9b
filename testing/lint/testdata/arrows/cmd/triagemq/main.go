package main

import (
	_ "github.com/triagemq/triagemq/broker"
	_ "github.com/triagemq/triagemq/cluster"
	_ "github.com/triagemq/triagemq/cmd/triagemq/node"
	_ "github.com/triagemq/triagemq/transport/mux"
)
