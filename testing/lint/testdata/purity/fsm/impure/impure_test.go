package impure

import "time"

var started = time.Now()
