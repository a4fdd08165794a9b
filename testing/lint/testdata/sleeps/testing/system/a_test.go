package system

import (
	"testing"
	"time"
)

func TestA(t *testing.T) {
	sleep := time.Sleep // want "time.Sleep in a test"
	sleep(1)
	pollUntil()
}

func pollUntil() { time.Sleep(1) }
