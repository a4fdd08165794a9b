//go:build !unix

package amqp

// descriptorLimit is a bound where the system has none to ask for.
func descriptorLimit() int { return 1 << 16 }
