package broker

import "time"

func pause() { time.Sleep(1) }
