package fsm

import "strconv"

// Origin is one life of one node as a source of commands: Node is the raft server id, Boot a counter fsynced in its data folder (design: Origins).
type Origin struct {
	Node string
	Boot uint64
}

// Ref addresses a channel of a connection of the batch's origin. Conn counts from 1 within a boot, Incarnation from 1 within a connection; both are never
// reused. Channel 0 is the connection itself. Conn 0 is the node: Incarnation is then the number of an operator's call, echoed in its Reply.
type Ref struct {
	Conn        uint32
	Channel     uint16
	Incarnation uint32
}

// Command is one thing that an origin asks of the state. Append writes it length-prefixed, as it stands in a batch (docs/formats.md). It panics where a
// string that AMQP limits to ShortStringBytesMax is longer, or the whole longer than CommandBytesMax: whoever takes such strings from outside checks them
// first, because what does not decode must never reach the log.
type Command interface {
	Append(dst []byte) []byte
}

// CommandBytesMax bounds one encoded command, its length prefix included; BatchBytesTarget the batches of several. ShortStringBytesMax bounds names of
// virtual hosts, exchanges, queues, nodes, routing keys and consumer tags (AMQP 0-9-1 §4.2.5.3).
const (
	CommandBytesMax     = 32 << 20
	BatchBytesTarget    = 256 << 10
	ShortStringBytesMax = 255
)

// TxCommandsMax bounds the publishes and settlements of one transaction: they are applied in one entry, which must not hold up the others for long.
const TxCommandsMax = 100_000

// CommandKind tells commands apart, in the log and in effects. Numbers are for ever.
type CommandKind uint8

// Kinds.
const (
	KindOpenSession CommandKind = iota + 1
	KindCloseSession
	KindOpenChannel
	KindCloseChannel
	KindDeclareExchange
	KindDeleteExchange
	KindDeclareQueue
	KindDeleteQueue
	KindPurgeQueue
	KindBind
	KindUnbind
	KindPublish
	KindGet
	KindConsume
	KindCancel
	KindSetQos
	KindGrant
	KindAck
	KindNack
	KindRecover
	_ // was to create virtual hosts
	KindDeleteVHost
	KindTx
	KindEndSession
	KindPutVHost
	KindPutUser
	KindDeleteUser
	KindPutPermission
	KindDeletePermission
	KindPutTopicPermission
	KindDeleteTopicPermission
	KindPutPolicy
	KindDeletePolicy
	KindPutVHostLimits
	KindPutUserLimits
	KindInitUsers
	KindPutParameter
	KindDeleteParameter
)

// String is AMQP's name of the method, or ours where AMQP has none.
func (k CommandKind) String() string {
	if int(k) < len(commandNames) && commandNames[k] != "" {
		return commandNames[k]
	}
	if name := nextKindName(k); name != "" {
		return name
	}
	return "command kind " + strconv.Itoa(int(k))
}

var commandNames = [...]string{
	KindOpenSession:     "session.open",
	KindCloseSession:    "session.close",
	KindOpenChannel:     "channel.open",
	KindCloseChannel:    "channel.close",
	KindDeclareExchange: "exchange.declare",
	KindDeleteExchange:  "exchange.delete",
	KindDeclareQueue:    "queue.declare",
	KindDeleteQueue:     "queue.delete",
	KindPurgeQueue:      "queue.purge",
	KindBind:            "bind",
	KindUnbind:          "unbind",
	KindPublish:         "basic.publish",
	KindGet:             "basic.get",
	KindConsume:         "basic.consume",
	KindCancel:          "basic.cancel",
	KindSetQos:          "basic.qos",
	KindGrant:           "grant",
	KindAck:             "basic.ack",
	KindNack:            "basic.nack",
	KindRecover:         "basic.recover",
	KindDeleteVHost:     "vhost.delete",

	KindTx:                    "tx.commit",
	KindEndSession:            "session.end",
	KindPutVHost:              "vhost.put",
	KindPutUser:               "user.put",
	KindDeleteUser:            "user.delete",
	KindPutPermission:         "permission.put",
	KindDeletePermission:      "permission.delete",
	KindPutTopicPermission:    "topic_permission.put",
	KindDeleteTopicPermission: "topic_permission.delete",
	KindPutPolicy:             "policy.put",
	KindDeletePolicy:          "policy.delete",
	KindPutVHostLimits:        "vhost_limits.put",
	KindPutUserLimits:         "user_limits.put",
	KindInitUsers:             "users.init",
	KindPutParameter:          "parameter.put",
	KindDeleteParameter:       "parameter.delete",
}

// OpenSession begins a connection's session. Reply: Replied, or SessionFailed NotAllowed where the virtual host is missing.
type OpenSession struct {
	Ref          Ref // Channel and Incarnation 0
	VHost        string
	User         string
	Name         string // connection name for views: client's connection_name or "peer -> local"
	CancelNotify bool   // the client announced consumer_cancel_notify
	Details      []byte // what else views show of the connection: an encoded field table of at most DetailsBytesMax; nil is empty
}

// DetailsBytesMax bounds OpenSession.Details: they are for people and are replicated with each connection.
const DetailsBytesMax = 4 << 10

// CloseSession ends it: exclusive queues are deleted, held messages returned. Reply: Replied when its logical effect is complete.
type CloseSession struct{ Ref Ref }

// OpenChannel begins a channel incarnation. No reply.
type OpenChannel struct{ Ref Ref }

// CloseChannel ends it and returns what it holds. Reply: Replied; a channel that already failed replies too.
type CloseChannel struct{ Ref Ref }

// DeclareExchange is exchange.declare.
type DeclareExchange struct {
	Ref                                            Ref
	Name, Type                                     string
	Passive, Durable, AutoDelete, Internal, NoWait bool
	Arguments                                      []byte // encoded field table with its length; nil is empty
}

// DeleteExchange is exchange.delete.
type DeleteExchange struct {
	Ref              Ref
	Name             string
	IfUnused, NoWait bool
}

// DeclareQueue is queue.declare. The origin has chosen the name where the client left it to the server.
type DeclareQueue struct {
	Ref                                             Ref
	Name                                            string
	Passive, Durable, Exclusive, AutoDelete, NoWait bool
	ServerNamed                                     bool // the name was generated: amq.gen-… is allowed
	Arguments                                       []byte
}

// DeleteQueue is queue.delete; its reply carries the count.
type DeleteQueue struct {
	Ref                       Ref
	Name                      string
	IfUnused, IfEmpty, NoWait bool
}

// PurgeQueue is queue.purge; its reply carries the count.
type PurgeQueue struct {
	Ref    Ref
	Name   string
	NoWait bool
}

// Bind is queue.bind, or exchange.bind with ToExchange.
type Bind struct {
	Ref                 Ref
	Source, Destination string
	ToExchange          bool
	Key                 string
	Arguments           []byte
	NoWait              bool
}

// Unbind is queue.unbind, or exchange.unbind with ToExchange.
type Unbind struct {
	Ref                 Ref
	Source, Destination string
	ToExchange          bool
	Key                 string
	Arguments           []byte
	NoWait              bool
}

// Publish is basic.publish with its content. Body is last on the wire: AppendPublishHead writes all but the body, and the caller appends exactly
// bodySizeBytes after it.
type Publish struct {
	Ref                  Ref
	Exchange, RoutingKey []byte // at most 255 bytes each
	Mandatory            bool
	Confirm              uint64 // publish number on a channel in confirm mode, from 1; 0 = no confirm wanted
	Priority             uint8  // of the properties; 0 where absent
	Properties           []byte // property flags and list, validated by content.Scan
	Body                 []byte
}

// Get is basic.get. Reply: Delivered with Get set, or Replied with Empty.
type Get struct {
	Ref   Ref
	Queue string
	NoAck bool
}

// Consume is basic.consume. Grant is the first window (see Grant).
type Consume struct {
	Ref                      Ref
	Queue, Tag               string
	NoAck, Exclusive, NoWait bool
	Arguments                []byte
	GrantMessages            uint32
	GrantBytes               uint32
}

// Cancel is basic.cancel; an unknown tag is answered too.
type Cancel struct {
	Ref    Ref
	Tag    string
	NoWait bool
}

// SetQos is basic.qos: Global false sets the limit of each consumer of the channel, present and future; true the channel's shared limit. 0 = no limit.
type SetQos struct {
	Ref    Ref
	Count  uint16
	Global bool
}

// Grant lets a consumer have that many more messages and body bytes, on top of what is left of earlier grants. A consumer is served only while its qos
// limits, its messages and its bytes all allow (the last may be overrun by one message). The origin grants as its socket drains.
type Grant struct {
	Ref             Ref
	Tag             string
	Messages, Bytes uint32
}

// Ack is basic.ack. Tag 0 with Multiple is all. An unknown tag fails the channel: PreconditionFailed.
type Ack struct {
	Ref      Ref
	Tag      uint64
	Multiple bool
}

// Nack is basic.nack and basic.reject. Without Requeue the message is dead-lettered (reason rejected).
type Nack struct {
	Ref      Ref
	Tag      uint64
	Multiple bool
	Requeue  bool
	Reject   bool // it is basic.reject, for the exception
}

// Recover is basic.recover with requeue: everything that the channel holds is returned.
type Recover struct{ Ref Ref }

// Tx is tx.commit: a transaction of one channel, all of it or nothing. Commands is a concatenation of encoded Publish, Ack and Nack of the same Ref, at
// most TxCommandsMax, none of the publishes with a Confirm. What one of them would be refused for fails the channel, and none is carried out. Mandatory
// messages come back before the reply.
type Tx struct {
	Ref      Ref
	Commands []byte
}
