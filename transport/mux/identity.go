package mux

import "fmt"

// Protocol says what is spoken on a connection after its handshake.
type Protocol byte

// The protocols of the peer port. Numbers are never reused.
const (
	ProtocolRaft    Protocol = 1 // hashicorp/raft's network transport
	ProtocolForward Protocol = 2 // streams of items to the leader
	ProtocolCall    Protocol = 3 // requests and answers between nodes
	ProtocolPost    Protocol = 4 // datagrams between nodes, in one direction
	// Two of the gossip port, where certificates are demanded; 5 is spoken for.
	ProtocolGossipPackets Protocol = 6 // memberlist's datagrams, in one direction
	ProtocolGossipStream  Protocol = 7 // one of memberlist's streams
)

// Identity is what a server says of itself in a handshake.
type Identity struct {
	Cluster string // cluster id; "" while the server belongs to none
	Server  string // raft server id
	Name    string // --node-id, for people
	Boot    uint64 // its latest boot number
}

func (i Identity) String() string { return fmt.Sprintf("%s (boot %d)", i.Server, i.Boot) }
