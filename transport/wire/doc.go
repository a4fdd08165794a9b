// Package wire is the AMQP 0-9-1 codec: frames, methods and content headers.
//
// It turns bytes into frames and methods and back, and knows nothing of sockets, channels' states or the broker. The amqp
// server and the client's tests use it. Field tables and properties are carried as encoded bytes; package content reads them.
//
// Start reading at Reader (frames in), then methods_gen.go (methods, written by ./gen from its table of facts), then
// AppendContent (frames out). There are no goroutines and no locks; a Reader belongs to one goroutine, all else is a value.
//
// What is decoded aliases the buffer that it was decoded from, unless it is a string: it is valid until the Reader's next Fill.
// Nothing is allocated per frame. Every length is checked before it is believed, and memory grows with the bytes that arrived,
// never with the size that a peer announces.
package wire

//go:generate go run ./gen -o methods_gen.go
