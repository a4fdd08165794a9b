package broker

import "time"

var started = time.Now()
