package amqp

import (
	"slices"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/transport/wire"
)

// Replies come in the order in which the client asked, per channel. Most come from the state machine; a few (confirm.select-ok)
// need nothing from it, and wait only for those before them.

// expectation is a reply that a channel's client waits for.
type expectation struct {
	command fsm.CommandKind // 0: needs no command, local is the reply
	local   wire.Method
	ok      wire.MethodID // the reply's method; 0 = the client waits for none (no-wait, basic.recover-async)
	asked   wire.MethodID // for an exception: two methods may make the same command
	awaited bool          // the reader waits for it: see awaitOne
	window  *consumer     // of a consumer that is being started, else nil
}

// expectations is a first-in first-out list. Its length is bounded by what the session lets a connection have waiting.
type expectations struct {
	list []expectation
	head int
}

func (e *expectations) push(x expectation) { e.list = append(e.list, x) }

func (e *expectations) first() (expectation, bool) {
	if e.head == len(e.list) {
		return expectation{}, false
	}
	return e.list[e.head], true
}

func (e *expectations) contains(f func(expectation) bool) bool {
	return slices.ContainsFunc(e.list[e.head:], f)
}

func (e *expectations) pop() {
	if e.head++; e.head == len(e.list) {
		e.list, e.head = e.list[:0], 0
	} else if e.head >= 64 && 2*e.head >= len(e.list) {
		e.list, e.head = e.list[:copy(e.list, e.list[e.head:])], 0
	}
}

// expect notes a reply before its command is submitted.
func (ch *channel) expect(x expectation) {
	c := ch.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch.state() == channelOpen {
		ch.expected.push(x)
	}
}

// expectLocal replies as soon as everything asked before is answered.
func (ch *channel) expectLocal(reply wire.Method) {
	c := ch.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch.state() == channelOpen {
		ch.replyLocally(reply)
	}
}

// replyLocally is expectLocal with mu held, of an open channel.
func (ch *channel) replyLocally(reply wire.Method) {
	ch.expected.push(expectation{local: reply})
	ch.replyLocals()
	ch.conn.signalWriter()
}

// replyLocals sends the replies at the front that need no command. Called with mu held.
func (ch *channel) replyLocals() {
	for {
		x, ok := ch.expected.first()
		if !ok || x.command != 0 {
			return
		}
		ch.expected.pop()
		b := ch.conn.encoder()
		b.b = wire.AppendMethod(b.b, ch.id(), x.local)
	}
}

// replied takes the state machine's reply to a command. Called with mu held.
func (ch *channel) replied(e *fsm.Effect) {
	if e.Command == fsm.KindCloseChannel {
		ch.closedLocked()
		return
	}
	x, ok := ch.expected.first()
	if !ok || x.command != e.Command {
		return // to a command of this channel before it failed
	}
	ch.expected.pop()
	switch e.Command {
	case fsm.KindConsume:
		ch.consumerStarted(x.window)
	case fsm.KindCancel:
		ch.consumerGone(e.Consumer)
	}
	if x.awaited {
		ch.getAnswered()
	}
	ch.encodeReply(x.ok, e)
	ch.replyLocals()
}

// encodeReply writes a reply's method from the effect's fields.
func (ch *channel) encodeReply(ok wire.MethodID, e *fsm.Effect) {
	if ok == 0 {
		return
	}
	b := ch.conn.encoder()
	switch ok {
	case wire.IDQueueDeclareOk:
		m := wire.QueueDeclareOk{Queue: e.Queue, MessageCount: e.Count, ConsumerCount: e.Consumers}
		b.b = m.AppendFrame(b.b, ch.id())
	case wire.IDQueueDeleteOk:
		b.b = (&wire.QueueDeleteOk{MessageCount: e.Count}).AppendFrame(b.b, ch.id())
	case wire.IDQueuePurgeOk:
		b.b = (&wire.QueuePurgeOk{MessageCount: e.Count}).AppendFrame(b.b, ch.id())
	case wire.IDBasicConsumeOk:
		b.b = (&wire.BasicConsumeOk{ConsumerTag: e.Consumer}).AppendFrame(b.b, ch.id())
	case wire.IDBasicCancelOk:
		b.b = (&wire.BasicCancelOk{ConsumerTag: e.Consumer}).AppendFrame(b.b, ch.id())
	case wire.IDBasicGetOk: // what a get expects; answered so, it found nothing
		ch.getAnswered()
		b.b = (&wire.BasicGetEmpty{}).AppendFrame(b.b, ch.id())
	default: // the rest has no fields
		b.b = wire.AppendMethod(b.b, ch.id(), wire.NewMethod(ok))
	}
}

// ask submits a command whose reply the client awaits, unless it said no-wait. The state machine replies in either case: what
// was carried out, and which method failed, is known in the order of the log.
func (ch *channel) ask(command fsm.Command, x expectation, noWait bool) {
	if noWait {
		x.ok = 0
	}
	ch.expect(x)
	b := ch.conn.beginCommand()
	b.b = command.Append(b.b)
}

// probeOrAsk answers at once what would change nothing, and asks otherwise. A client that does not wait for the reply does not
// have the reader wait for the probe either.
func (ch *channel) probeOrAsk(command fsm.Command, x expectation, noWait bool) error {
	if noWait {
		ch.ask(command, x, noWait)
		return nil
	}
	answered, err := ch.probe(command, x.ok)
	if !answered && err == nil {
		ch.ask(command, x, noWait)
	}
	return err
}

// probe reports whether the reply was found without a log entry, and sends it.
func (ch *channel) probe(command fsm.Command, ok wire.MethodID) (answered bool, err error) {
	c := ch.conn
	b := takeBuffer()
	defer b.free()
	b.b = command.Append(b.b)
	reply, answered, err := c.probe(b.b)
	if !answered || err != nil {
		return false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch.state() == channelOpen && c.phase == phaseRunning {
		ch.encodeReply(ok, &reply)
		c.signalWriter()
	}
	return true, nil
}
