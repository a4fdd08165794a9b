package amqp

import (
	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/fsm/content"
	"github.com/triagemq/triagemq/transport/wire"
)

// A publish is three kinds of frames: method, header, bodies. Its command is encoded as they come: the head once the header has
// told the body's size, then each body frame straight from the read buffer behind it. While nothing comes in between that
// happens at the end of connection.commands (the connection's tail), and a message that lies in one read costs one copy. When
// the read ends, or another channel has a command, the unfinished publish moves to a buffer of its own and goes on there.

// assembly is a channel's publish under way.
type assembly struct {
	wants    contentPart
	missing  int            // bytes of the body
	own      *buffer        // the command so far, where it is not the tail
	reserved int            // bytes of the intake
	reply    *outgoingReply // what own holds instead: a direct reply
	exchange []byte         // from the method, kept until the header comes; memory is used again
	key      []byte
	command  fsm.Publish
}

// contentPart is what has to come next.
type contentPart uint8

const (
	wantsMethod contentPart = iota
	wantsHeader
	wantsBody
)

// interrupted tells that something else came where content had to.
func (a *assembly) interrupted() *exception {
	const id = wire.IDBasicPublish
	switch a.wants {
	case wantsHeader:
		return exceptionf(unexpectedFrame, id, "expected content header for class 60, got non content header frame instead")
	case wantsBody:
		return exceptionf(unexpectedFrame, id, "expected content body, got non content body frame instead")
	}
	return nil
}

// drop forgets an unfinished publish.
func (a *assembly) drop(ch *channel) {
	c := ch.conn
	if a.wants == wantsMethod {
		return
	}
	a.wants = wantsMethod
	ch.unreserve()
	if c.tail == ch {
		c.commands.b = c.commands.b[:c.tailStart]
		c.tail = nil
	}
	if a.own != nil {
		c.partial -= len(a.own.b)
		a.own.free()
		a.own, a.reply = nil, nil
	}
}

func (ch *channel) handlePublish(arguments []byte) *exception {
	m := &ch.conn.publish // one for all channels: it is used up in here
	if err := m.Decode(arguments); err != nil {
		return malformed(m.ID(), err)
	}
	if m.Immediate {
		return exceptionf(notImplemented, m.ID(), "immediate=true")
	}
	a := &ch.content
	a.exchange = append(a.exchange[:0], m.Exchange...)
	a.key = append(a.key[:0], m.RoutingKey...)
	a.command = fsm.Publish{Ref: ch.ref, Exchange: a.exchange, RoutingKey: a.key, Mandatory: m.Mandatory}
	a.wants = wantsHeader
	return nil
}

func (ch *channel) handleHeader(payload []byte) (*exception, error) {
	a := &ch.content
	switch a.wants {
	case wantsMethod:
		return exceptionf(unexpectedFrame, 0, "expected method frame, got non method frame instead"), nil
	case wantsBody:
		return a.interrupted(), nil
	}
	header, err := wire.DecodeContentHeader(payload)
	if err != nil {
		return malformed(wire.IDBasicPublish, err), nil
	}
	if header.Class != wire.ClassBasic {
		return exceptionf(unexpectedFrame, wire.IDBasicPublish, "expected content header for class %d, got one for class %d instead",
			wire.ClassBasic, header.Class), nil
	}
	if header.Weight != 0 {
		return a.interrupted(), nil
	}
	if x := ch.checkHeader(&header); x != nil {
		return x, nil
	}
	return ch.beginPublish(&header)
}

// checkHeader refuses what no state is needed to refuse, the size before anything else.
func (ch *channel) checkHeader(header *wire.ContentHeader) *exception {
	const method = wire.IDBasicPublish
	c := ch.conn
	if limit := c.config.MessageBytesMax; header.BodySize > uint64(limit) {
		return exceptionf(preconditionFailed, method, "message size %d is larger than configured max size %d", header.BodySize, limit)
	}
	summary, err := content.Scan(header.Properties)
	if err != nil {
		return &exception{syntaxError, err.Error(), method}
	}
	if mode := summary.DeliveryMode; mode > 2 || mode == 0 && summary.HasDeliveryMode {
		return exceptionf(preconditionFailed, method, "invalid message: {delivery_mode_unknown,%d}", mode)
	}
	if summary.Expiration != nil {
		if _, fault := content.ExpirationMillis(summary.Expiration); fault != "" {
			return exceptionf(preconditionFailed, method, "invalid expiration '%s': %s", summary.Expiration, fault)
		}
	}
	if summary.Copies {
		if x := checkCopies(summary.Headers); x != nil {
			return x
		}
	}
	if summary.UserID != nil && string(summary.UserID) != c.user && !c.impersonates {
		return exceptionf(preconditionFailed, method, "user_id property set to '%s' but authenticated user was '%s'", summary.UserID, c.user)
	}
	p := &ch.content.command
	p.Priority, p.Properties = summary.Priority, header.Properties
	if string(summary.ReplyTo) == directReplyTo {
		var x *exception
		if p.Properties, x = ch.readdress(header.Properties); x != nil {
			return x
		}
	}
	if size := fsm.PublishSizeBytes(p, int(header.BodySize)); size > fsm.CommandBytesMax {
		return exceptionf(preconditionFailed, method, "message of %d bytes with its properties is larger than a command may be", size)
	}
	return nil
}

// checkCopies refuses headers CC and BCC that are no arrays, in RabbitMQ's words. Elements that are no strings are ignored.
func checkCopies(headers []byte) *exception {
	table, _, err := content.DecodeTable(headers)
	if err != nil {
		return malformed(wire.IDBasicPublish, err) // never: it was scanned
	}
	for _, name := range [...]string{"CC", "BCC"} {
		v, there := table.Get(name)
		if _, isArray := v.(content.Array); there && !isArray {
			return exceptionf(preconditionFailed, wire.IDBasicPublish, "invalid message: {unacceptable_type_in_header,\"%s\",%s}",
				name, content.TypeName(v))
		}
	}
	return nil
}

// beginPublish writes the command's head. From here on the publish counts: in confirm mode it has a number.
func (ch *channel) beginPublish(header *wire.ContentHeader) (*exception, error) {
	c, a := ch.conn, &ch.content
	if !c.published {
		c.published = true
		c.nowPublishes()
	}
	if err := ch.reserve(int(header.BodySize)); err != nil {
		return nil, err
	}
	if ch.confirms {
		ch.published++
		a.command.Confirm = ch.published
	}
	if a.isDirectReply() {
		return ch.beginReply(header)
	}
	if ch.tx != nil {
		return ch.beginInTx(header)
	}
	if a.reserved > 0 {
		ch.beginOwn(header)
		return nil, nil
	}
	b := c.beginCommand()
	c.tailStart = len(b.b)
	b.b = fsm.AppendPublishHead(b.b, &a.command, int(header.BodySize))
	a.command.Properties = nil // they alias the read buffer
	a.missing = int(header.BodySize)
	if a.missing == 0 {
		a.wants = wantsMethod
		return nil, nil
	}
	a.wants = wantsBody
	c.tail = ch
	return nil, nil
}

// beginOwn begins a publish in a buffer of its own.
func (ch *channel) beginOwn(header *wire.ContentHeader) {
	c, a := ch.conn, &ch.content
	a.own = ownBuffer(fsm.PublishSizeBytes(&a.command, int(header.BodySize)))
	a.own.b = fsm.AppendPublishHead(a.own.b, &a.command, int(header.BodySize))
	a.command.Properties = nil // they alias the read buffer
	c.partial += len(a.own.b)
	a.missing = int(header.BodySize)
	a.wants = wantsBody
}

func (ch *channel) handleBody(payload []byte) (*exception, error) {
	c, a := ch.conn, &ch.content
	switch {
	case a.wants == wantsMethod:
		return exceptionf(unexpectedFrame, 0, "expected method frame, got non method frame instead"), nil
	case a.wants == wantsHeader:
		return a.interrupted(), nil
	case len(payload) > a.missing:
		return a.interrupted(), nil // a body that is longer than its header says
	}
	a.missing -= len(payload)
	if c.tail == ch {
		c.commands.b = append(c.commands.b, payload...)
		if a.missing == 0 {
			c.tail = nil
			a.wants = wantsMethod
		}
		return nil, nil
	}
	if c.partial+len(payload) > c.config.PartialBytesMax {
		return tooMuchUnfinished(c, wire.IDBasicPublish), nil
	}
	c.partial += len(payload)
	a.own.b = append(a.own.b, payload...)
	if a.missing > 0 {
		return nil, nil
	}
	a.wants = wantsMethod
	return ch.finishOwn()
}

// finishOwn sends a publish from its own buffer on its way.
func (ch *channel) finishOwn() (*exception, error) {
	switch a := &ch.content; {
	case ch.tx != nil && a.reply != nil:
		return ch.addReply(ch.takeReply()), nil
	case ch.tx != nil:
		return ch.ownToTx(), nil
	case a.reply != nil:
		if err := ch.conn.submit(); err != nil { // what came before must not wait for another node
			return nil, err
		}
		ch.conn.published = true
		ch.sendReply(ch.takeReply())
		return nil, nil
	}
	return nil, ch.submitOwn()
}

func tooMuchUnfinished(c *connection, method wire.MethodID) *exception {
	return exceptionf(resourceError, method, "more than %d bytes of unfinished messages and transactions", c.config.PartialBytesMax)
}

// beginInTx begins a publish in a buffer of its own, from where it goes into the transaction.
func (ch *channel) beginInTx(header *wire.ContentHeader) (*exception, error) {
	a := &ch.content
	size := fsm.PublishSizeBytes(&a.command, int(header.BodySize))
	if x := ch.roomInTx(wire.IDBasicPublish, size); x != nil {
		a.wants = wantsMethod
		ch.unreserve()
		return x, nil
	}
	ch.checkExchange(a.exchange)
	if ch.beginOwn(header); a.missing > 0 {
		return nil, nil
	}
	a.wants = wantsMethod
	return ch.ownToTx(), nil
}

// ownToTx moves a finished publish into the transaction.
func (ch *channel) ownToTx() *exception {
	own := ch.content.own
	ch.content.own = nil
	ch.conn.partial -= len(own.b)
	defer own.free()
	defer ch.unreserve()
	return ch.addToTx(wire.IDBasicPublish, own.b)
}

// submitOwn hands over a publish from its own buffer, behind what was decoded before.
func (ch *channel) submitOwn() error {
	c, a := ch.conn, &ch.content
	if err := c.submit(); err != nil {
		return err
	}
	own := a.own
	a.own = nil
	c.partial -= len(own.b)
	c.published = true // it may have begun several reads ago
	defer ch.unreserve()
	err := c.submitBytes(own.b)
	own.free()
	if err == nil && c.server.intake.isTight(a.reserved) {
		err = c.awaitApplied()
	}
	return err
}

// evictTail moves an unfinished publish from the end of the commands to a buffer of its own.
func (c *connection) evictTail() {
	ch := c.tail
	if ch == nil {
		return
	}
	c.tail = nil
	a := &ch.content
	a.own = takeBuffer()
	a.own.b = append(a.own.b, c.commands.b[c.tailStart:]...)
	c.partial += len(a.own.b)
	c.commands.b = c.commands.b[:c.tailStart]
}

// nowPublishes makes this connection one that hears of alarms, the present one included.
func (c *connection) nowPublishes() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.publishes {
		return
	}
	c.publishes = true
	c.announceBlocked()
}
