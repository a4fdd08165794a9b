package fsm

import "github.com/triagemq/triagemq/fsm/content"

// The headers CC and BCC (RabbitMQ's sender-selected distribution) are arrays of routing keys: a message is routed by each of them too. Consumers see CC
// and not BCC. What is no array of strings does not get here: the door refuses it.
const (
	headerCC  = "CC"
	headerBCC = "BCC"
)

// copies are the further routing keys of a message.
type copies struct {
	keys   []string // those of CC first
	traits traits   // of a message with such headers
}

// copiesOf finds them. properties have been validated and have one of the headers at least.
func copiesOf(properties []byte) copies {
	p, err := content.DecodeProperties(properties)
	if err != nil {
		return copies{} // only what dead-lettering made can get beyond what the codec accepts
	}
	return copiesIn(p.Headers)
}

func copiesIn(headers content.Table) (c copies) {
	c.keys = append(copyKeys(headers, headerCC), copyKeys(headers, headerBCC)...)
	if _, ok := headers.Get(headerBCC); ok {
		c.traits = hasBCC
	}
	return c
}

// copyKeys lists the routing keys of one of the headers. Longer ones than AMQP knows match nothing.
func copyKeys(headers content.Table, name string) (keys []string) {
	v, _ := headers.Get(name)
	list, _ := v.(content.Array)
	for _, v := range list {
		if key, ok := v.(string); ok && len(key) <= ShortStringBytesMax {
			keys = append(keys, key)
		}
	}
	return keys
}

// visible is what clients may see of a message's properties. It is on the way of every message, and small enough to be inlined.
func (t traits) visible(properties []byte) []byte {
	if t&hasBCC == 0 {
		return properties
	}
	return withoutBCC(properties)
}

func withoutBCC(properties []byte) []byte {
	p, err := content.DecodeProperties(properties)
	if err != nil {
		return []byte{0, 0} // see copiesOf: better without properties than with the secret
	}
	p.Headers = p.Headers.Without(headerBCC)
	return p.Append(nil)
}
