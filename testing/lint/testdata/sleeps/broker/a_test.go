package broker

import (
	"testing"
	"testing/synctest"
	clock "time"
)

func TestA(t *testing.T) {
	clock.Sleep(1) // want "time.Sleep in a test"
	synctest.Test(t, func(t *testing.T) {
		clock.Sleep(1)
		inBubble()
		inBoth()
	})
	bubble(t, func() { clock.Sleep(1) })
	pollA()
	inBoth()
	marked()
	t.Run("named", inMethod{}.run)
}

func bubble(t *testing.T, f func()) {
	clock.Sleep(1) // want "time.Sleep in a test"
	synctest.Test(t, func(t *testing.T) { f() })
}

// bubbles hands f on; noBubble does not.
func bubbles(t *testing.T, f func()) { bubble(t, f) }

func noBubble(t *testing.T, f func()) {
	bubble(t, func() {})
	f()
}

func TestB(t *testing.T) {
	bubbles(t, func() { clock.Sleep(1) })
	noBubble(t, func() { clock.Sleep(1) }) // want "time.Sleep in a test"
}

func inBubble() { clock.Sleep(1) }

func inBoth() { clock.Sleep(1) } // want "time.Sleep in a test"

type inMethod struct{}

func (inMethod) run(*testing.T) { clock.Sleep(1) } // want "time.Sleep in a test"

func marked() {
	//test:faketime called by TestA alone
	clock.Sleep(1)
	clock.Sleep(1) // want "time.Sleep in a test"
	//test:faketime
	clock.Sleep(1) // want "time.Sleep in a test"
}

func pollA() { clock.Sleep(1) } // want "time.Sleep in a test"
