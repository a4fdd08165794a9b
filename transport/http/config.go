package http

import "github.com/hashicorp/go-hclog"

// Config is what a Server needs to know. Default is complete.
type Config struct {
	MessageBytesMax int // largest body of a message that is published, as for AMQP clients; default 16 MiB
	BodyBytesMax    int // bodies of requests, over all that are being answered; the most that one may have too, up to 64 MiB; default 256 MiB
	Logger          hclog.Logger
}

// Default returns the configuration of a node with plenty of memory.
func Default() Config {
	return Config{MessageBytesMax: 16 << 20, BodyBytesMax: 256 << 20, Logger: hclog.NewNullLogger()}
}

// oneBodyBytesMax bounds the body of a request: definitions of a large cluster, or a message of 16 MiB in base64.
const oneBodyBytesMax = 64 << 20

func (c *Config) bodyBytesMax() int { return min(oneBodyBytesMax, c.BodyBytesMax) }
