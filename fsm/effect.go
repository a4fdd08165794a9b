package fsm

// EffectKind says what an Effect tells.
type EffectKind uint8

// Kinds of effects. Those marked (node) go to the node; all others to a connection of the local origin (Ref).
const (
	// Replied answers Command: its ok method. Queue, Count and Consumers are set where the method has them.
	Replied EffectKind = iota + 1
	// Published settles the publish numbered Confirm: Code OK is an ack, anything else a nack (enqueued nowhere).
	Published
	// Returned is a mandatory message that no queue took; it precedes its Published. Content fields are set.
	Returned
	// Delivered hands a message to a consumer, or answers a Get. Content fields are set.
	Delivered
	// ConsumerCancelled is the server's basic.cancel: queue deleted, consumer time-out.
	ConsumerCancelled
	// ChannelFailed is a channel exception found in apply: Command failed with Code and Text. Later commands of the incarnation are skipped.
	ChannelFailed
	// SessionFailed is a connection exception found in apply, or the forced end of a session.
	SessionFailed
	// OriginOpened (node): the local OriginOpen took effect; clients may be accepted.
	OriginOpened
	// OriginClosed (node): the local origin was closed; its sessions are gone from the state.
	OriginClosed
	// BatchApplied (node): batch Seq of the local origin was applied; Gap instead when it was not the next one (Seq is then the number expected).
	BatchApplied
	// BatchGap (node).
	BatchGap
	// Outvoted (node): a majority of replicas holds another state at MarkIndex. The node must end.
	Outvoted
	// Undecided (node): no majority agrees at MarkIndex. Publishing must be blocked.
	Undecided
)

// Effect is one outcome. State reuses the struct and the slices alias its memory: a Sink copies what it keeps before it returns.
type Effect struct {
	Kind    EffectKind
	Ref     Ref
	Command CommandKind
	Reject  bool // the Command is basic.reject, not basic.nack
	Code    Code
	Text    string // for people, RabbitMQ's wording without the code's name: "no queue 'q' in vhost '/'"

	Queue     string // DeclareQueue reply: its name
	Count     uint32 // DeclareQueue: ready messages; DeleteQueue, PurgeQueue: messages; Get: ready messages left
	Consumers uint32
	Empty     bool // Get found nothing
	Consumer  string
	Confirm   uint64

	// Content of Returned and Delivered.
	Tag         uint64 // delivery tag
	Delivery    uint64 // delivery id
	Redelivered bool
	Deliveries  uint32 // earlier deliveries that count: x-delivery-count where not 0
	Quorum      bool   // the queue was declared with x-queue-type quorum
	Get         bool
	Exchange    []byte
	RoutingKey  []byte
	Properties  []byte
	Body        []byte

	Seq       uint64
	MarkIndex uint64
}

// Sink takes the effects for the local origin, in order, on the apply goroutine. It must not block and not call State.
type Sink interface {
	Emit(e *Effect)
}

// emit hands the effect over if it is for a session of the local origin. The struct is the State's own, so that effects cost no allocation.
func (s *State) emit(ses *session, e Effect) {
	if s.mine == nil || ses.origin != s.mine {
		return
	}
	s.emitNode(e)
}

// emitNode hands an effect to the node itself.
func (s *State) emitNode(e Effect) {
	if s.options.Sink != nil {
		s.effect = e
		s.options.Sink.Emit(&s.effect)
		s.effect = Effect{} // what it aliased must not stay reachable
	}
}

// reply answers a command that its channel's client waits for.
func (ch *channel) reply(s *State, kind CommandKind, noWait bool, e Effect) {
	if noWait {
		return
	}
	e.Kind, e.Ref, e.Command = Replied, ch.ref(), kind
	s.emit(ch.session, e)
}
