package clienttest

import (
	_ "github.com/triagemq/triagemq/broker" // want "must not import"
	_ "github.com/triagemq/triagemq/client"
	_ "github.com/triagemq/triagemq/cmd/triagemq/node"
)
