// Package mux is the peer port: the one TCP port on which the nodes of a cluster talk to each other, whatever they say.
//
// Every connection begins with a handshake that names the protocol spoken on it, the cluster, and the server at either end, and that proves to
// both sides, where a cluster secret is set, that the other one knows it. What follows is sealed by TLS where there is a secret (session.go) or certificates
// (certificates.go), and plain where there is neither, which is on loopback only; mux does not frame it. The bytes of the handshake are described in hello.go,
// its order in handshake.go; what it goes by, and how that is replaced while ports are open, in trust.go. Start reading at handshake.go.
//
// The package knows nothing of raft, streams or calls. Package cluster calls it, and nobody else.
//
// A Port owns one goroutine that accepts and one for each handshake in progress (at most maxHandshakes); Close joins them all and closes every
// connection that the Port ever handed out. Port.mu guards the tables of listeners and connections; nothing blocks while it is held.
package mux
