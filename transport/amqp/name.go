package amqp

import (
	"crypto/rand"
	"encoding/base64"
)

// uniqueName is a prefix and 22 random characters, as long as RabbitMQ's names of queues and tags of consumers are: tests of clients count on it.
func uniqueName(prefix string) string {
	var octets [16]byte
	rand.Read(octets[:])
	return prefix + base64.RawURLEncoding.EncodeToString(octets[:])
}
