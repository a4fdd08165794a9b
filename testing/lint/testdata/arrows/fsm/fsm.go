package fsm

import (
	_ "github.com/triagemq/triagemq/broker" // want "must not import"
	_ "github.com/triagemq/triagemq/fsm/store"
	_ "github.com/triagemq/triagemq/testing/harness" // want "must not import"
	_ "golang.org/x/sys/unix"                        // want "must not import"
	_ "os"
)
