package broker

import (
	"testing"
	"testing/synctest"
	clock "time"
)

func TestA(t *testing.T) {
	clock.Sleep(1) // want "time.Sleep in a test"
	synctest.Test(t, func(t *testing.T) { clock.Sleep(1) })
}

func inBubble() {
	//test:faketime called by TestA alone
	clock.Sleep(1)
	clock.Sleep(1) // want "time.Sleep in a test"
	//test:faketime
	clock.Sleep(1) // want "time.Sleep in a test"
}

func pollA() { clock.Sleep(1) } // want "time.Sleep in a test"
