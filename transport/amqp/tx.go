package amqp

import (
	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/transport/wire"
)

// A transactional channel keeps what it publishes and settles until commit makes one command of it, which the state machine carries out wholly or not at
// all. Nothing that is not committed leaves this node: rollback, and the loss of the client or the node, forget it.

// transaction is what a channel has gathered since tx.select, its last commit or its last rollback. It is the reader's own.
type transaction struct {
	commands  *buffer // encoded; nil while there are none
	count     int
	replies   []*outgoingReply    // direct replies, which leave when it is committed
	settledTo uint64              // all tags up to here are settled in it,
	settled   map[uint64]struct{} // and these above
	recovers  bool                // basic.recover waits for its end

	known map[string]struct{} // exchanges that the state machine was asked for since tx.select
}

// exchangesKnownMax bounds what a transactional channel remembers of exchanges. Beyond it a missing one is found at commit.
const exchangesKnownMax = 1024

func (ch *channel) selectTx(m *wire.TxSelect) *exception {
	if ch.confirms {
		return exceptionf(preconditionFailed, m.ID(), "cannot switch from confirm to tx mode")
	}
	if ch.tx == nil {
		ch.tx = &transaction{settled: make(map[uint64]struct{}), known: make(map[string]struct{})}
	}
	ch.expectLocal(&wire.TxSelectOk{})
	return nil
}

func (ch *channel) commitTx(m *wire.TxCommit) (*exception, error) {
	t := ch.tx
	if t == nil {
		return notTransactional(m.ID()), nil
	}
	replies := t.replies
	t.replies = nil
	if t.count == 0 {
		ch.expectLocal(&wire.TxCommitOk{})
	} else {
		ch.ask(&fsm.Tx{Ref: ch.ref, Commands: t.commands.b},
			expectation{command: fsm.KindTx, ok: wire.IDTxCommitOk, asked: m.ID(), awaited: len(replies) > 0 && ch.awaitOne()}, false)
	}
	ch.endTx()
	return nil, ch.sendCommitted(replies)
}

// sendCommitted sends the direct replies of a transaction, if it was committed. The reader waits for that.
func (ch *channel) sendCommitted(replies []*outgoingReply) error {
	if len(replies) == 0 {
		return nil
	}
	c := ch.conn
	err := c.submit()
	if err == nil {
		err = c.attend()
	}
	for _, r := range replies {
		c.forgetInTx(len(r.content.b))
		if err == nil && ch.state() == channelOpen {
			ch.sendReply(r)
		}
	}
	return err
}

// addReply keeps a direct reply for the commit.
func (ch *channel) addReply(r *outgoingReply) *exception {
	c, t := ch.conn, ch.tx
	if x := ch.roomInTx(wire.IDBasicPublish, 0); x != nil {
		return x
	}
	if x := c.keepInTx(wire.IDBasicPublish, len(r.content.b)); x != nil {
		return x
	}
	t.replies = append(t.replies, r)
	return nil
}

func (ch *channel) rollbackTx(m *wire.TxRollback) *exception {
	if ch.tx == nil {
		return notTransactional(m.ID())
	}
	ch.expectLocal(&wire.TxRollbackOk{})
	ch.endTx()
	return nil
}

func notTransactional(method wire.MethodID) *exception {
	return exceptionf(preconditionFailed, method, "channel is not transactional")
}

// endTx begins the next transaction. What the client asked to recover meanwhile is returned now that it is known what is still held.
func (ch *channel) endTx() {
	recovers := ch.tx.recovers
	ch.forgetTx()
	if recovers {
		ch.ask(&fsm.Recover{Ref: ch.ref}, expectation{command: fsm.KindRecover, asked: wire.IDBasicRecover}, true)
	}
}

// forgetTx drops what was gathered.
func (ch *channel) forgetTx() {
	t := ch.tx
	if t == nil {
		return
	}
	if t.commands != nil {
		ch.conn.forgetInTx(len(t.commands.b))
		t.commands.free()
	}
	for _, r := range t.replies {
		ch.conn.forgetInTx(len(r.content.b))
	}
	clear(t.settled)
	*t = transaction{settled: t.settled, known: t.known}
}

// roomInTx refuses a command that would make the transaction larger than it may be.
func (ch *channel) roomInTx(method wire.MethodID, sizeBytes int) *exception {
	t := ch.tx
	if t.commands != nil {
		sizeBytes += len(t.commands.b)
	}
	switch {
	case t.count+len(t.replies) == fsm.TxCommandsMax:
		return exceptionf(preconditionFailed, method, "more than %d publishes and acknowledgements in a transaction", fsm.TxCommandsMax)
	case fsm.TxSizeBytes(sizeBytes) > fsm.CommandBytesMax:
		return exceptionf(preconditionFailed, method, "a transaction of more than %d bytes", fsm.CommandBytesMax)
	}
	return nil
}

// addToTx appends an encoded command.
func (ch *channel) addToTx(method wire.MethodID, command []byte) *exception {
	if x := ch.roomInTx(method, len(command)); x != nil {
		return x
	}
	c, t := ch.conn, ch.tx
	if x := c.keepInTx(method, len(command)); x != nil {
		return x
	}
	if t.commands == nil {
		t.commands = takeBuffer()
	}
	t.commands.b = append(t.commands.b, command...)
	t.count++
	return nil
}

// keepInTx counts bytes that a transaction keeps until it ends. They wait for the client, who may take as long as he likes: so they are refused rather than
// waited for where the connection, or all of this node's together, have too many.
func (c *connection) keepInTx(method wire.MethodID, sizeBytes int) *exception {
	if c.partial+sizeBytes > c.config.PartialBytesMax {
		return tooMuchUnfinished(c, method)
	}
	if all := c.server.inTx.Add(int64(sizeBytes)); all > int64(c.config.TxBytesMax) {
		c.server.inTx.Add(-int64(sizeBytes))
		return exceptionf(resourceError, method, "more than %d bytes of transactions that are not committed, over all connections of this node", c.config.TxBytesMax)
	}
	c.partial += sizeBytes
	c.inTx += sizeBytes
	return nil
}

func (c *connection) forgetInTx(sizeBytes int) {
	c.server.inTx.Add(-int64(sizeBytes))
	c.partial -= sizeBytes
	c.inTx -= sizeBytes
}

// checkExchange has the state machine fail the channel now if an exchange that the transaction publishes to is not there, as it would without a
// transaction. Whatever becomes of the exchange later is found at commit.
func (ch *channel) checkExchange(name []byte) {
	t := ch.tx
	if _, known := t.known[string(name)]; known || len(name) == 0 || len(t.known) == exchangesKnownMax {
		return
	}
	t.known[string(name)] = struct{}{}
	ch.ask(&fsm.DeclareExchange{Ref: ch.ref, Name: string(name), Passive: true},
		expectation{command: fsm.KindDeclareExchange, asked: wire.IDBasicPublish}, true)
}

// settleInTx gathers an acknowledgement or rejection. It refuses at once what cannot be outstanding: a tag that was not delivered yet, or that this
// transaction has settled. One that an earlier transaction settled is refused at commit.
func (ch *channel) settleInTx(method wire.MethodID, tag uint64, multiple bool, command fsm.Command) *exception {
	t := ch.tx
	ch.conn.mu.Lock()
	delivered := ch.delivered
	ch.conn.mu.Unlock()
	_, before := t.settled[tag]
	all := multiple && tag == 0
	if !all && (before || tag <= t.settledTo || tag > delivered) {
		return exceptionf(preconditionFailed, method, "unknown delivery tag %d", tag)
	}
	b := takeBuffer()
	defer b.free()
	b.b = command.Append(b.b)
	if x := ch.addToTx(method, b.b); x != nil {
		return x
	}
	switch {
	case all:
		t.settledTo = delivered
	case multiple:
		t.settledTo = tag
	default:
		t.settled[tag] = struct{}{}
	}
	return nil
}

// settles tells whether the transaction has acknowledgements or rejections.
func (t *transaction) settles() bool { return t != nil && (t.settledTo > 0 || len(t.settled) > 0) }
