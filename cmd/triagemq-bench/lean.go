package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/triagemq/triagemq/testing/harness"
	"github.com/triagemq/triagemq/transport/wire"
)

// The lean client spends as little as AMQP allows: what gathers while a write is under way goes out with the next one, frames are read in place, nothing is
// allocated per message. With it the nodes' cost shows more clearly than with amqp091-go, which takes half of the machine and writes each message on its own. It
// does what a measurement needs and no more: one channel, no heartbeats, and any surprise is an error.

// leanConn is a connection with one open channel.
type leanConn struct {
	socket   net.Conn
	frames   *wire.Reader
	out      []byte
	frameMax uint32
}

const (
	leanChannel  = 1
	leanSetup    = 10 * time.Second // bound of the handshake
	leanOutBytes = 64 << 10         // of publishes in one write
)

// dialLean logs in and opens the channel. The socket closes when ctx ends.
func dialLean(ctx context.Context, n *harness.Node) (*leanConn, error) {
	socket, err := (&net.Dialer{}).DialContext(ctx, "tcp", n.AMQP)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { socket.Close() })
	c := &leanConn{socket: socket, frames: wire.NewReader(), out: []byte(wire.ProtocolHeader)}
	if err = socket.SetDeadline(time.Now().Add(leanSetup)); err == nil {
		err = c.handshake()
	}
	if err == nil {
		err = socket.SetDeadline(time.Time{})
	}
	if err != nil {
		socket.Close()
		return nil, fmt.Errorf("handshake with %s: %w", n.Name, err)
	}
	return c, nil
}

func (c *leanConn) handshake() error {
	var start wire.ConnectionStart
	if err := c.call(&start); err != nil {
		return err
	}
	var tune wire.ConnectionTune
	if err := c.ask(0, &wire.ConnectionStartOk{Mechanism: "PLAIN", Response: []byte("\x00guest\x00guest"), Locale: "en_US"}, &tune); err != nil {
		return err
	}
	c.frameMax = tune.FrameMax
	c.frames.SetFrameMax(tune.FrameMax)
	c.out = wire.AppendMethod(c.out, 0, &wire.ConnectionTuneOk{ChannelMax: tune.ChannelMax, FrameMax: tune.FrameMax})
	if err := c.ask(0, &wire.ConnectionOpen{VirtualHost: "/"}, &wire.ConnectionOpenOk{}); err != nil {
		return err
	}
	return c.ask(leanChannel, &wire.ChannelOpen{}, &wire.ChannelOpenOk{})
}

// ask writes a method, behind whatever waits, and decodes its answer.
func (c *leanConn) ask(channel uint16, m, answer wire.Method) error {
	c.out = wire.AppendMethod(c.out, channel, m)
	return c.call(answer)
}

// call writes what waits and decodes the answer.
func (c *leanConn) call(answer wire.Method) error {
	if err := c.flush(); err != nil {
		return err
	}
	for {
		f, ok, err := c.frames.Next()
		switch {
		case err != nil:
			return err
		case !ok:
			if err := c.frames.Fill(c.socket); err != nil {
				return err
			}
		case f.Type == wire.FrameMethod:
			id, arguments, err := wire.SplitMethod(f.Payload)
			if err == nil && id != answer.ID() {
				err = unexpected(id, arguments)
			}
			if err != nil {
				return err
			}
			return answer.Decode(arguments)
		}
	}
}

func (c *leanConn) flush() error {
	_, err := c.socket.Write(c.out)
	c.out = c.out[:0]
	return err
}

// unexpected tells what came; the broker's reason, where it is one.
func unexpected(id wire.MethodID, arguments []byte) error {
	var closed wire.ChannelClose
	if (id == wire.IDChannelClose || id == wire.IDConnectionClose) && closed.Decode(arguments) == nil {
		return fmt.Errorf("closed by the broker: %d %s", closed.ReplyCode, closed.ReplyText)
	}
	return fmt.Errorf("unexpected %s", id)
}

// publishLean is publish with the lean client: a writer here, a reader of confirms beside it.
func (m *meter) publishLean(ctx context.Context, n *harness.Node, o load) error {
	own, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c, err := dialLean(own, n)
	if err != nil {
		return err
	}
	if err := c.ask(leanChannel, &wire.ConfirmSelect{}, &wire.ConfirmSelectOk{}); err != nil {
		return err
	}
	p := &leanPublisher{meter: m, conn: c, load: o, at: make([]atomic.Int64, o.window), progress: make(chan struct{}, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		cancel(p.confirms())
	}()
	err = p.publishes(own)
	cancel(err)
	<-done
	if ctx.Err() != nil {
		return nil // told to stop
	}
	return context.Cause(own)
}

type leanPublisher struct {
	meter *meter
	conn  *leanConn
	load  load

	at        []atomic.Int64 // when message k was sent, at k modulo the window
	confirmed atomic.Uint64
	progress  chan struct{} // confirmed has moved on; capacity 1
}

// publishes writes as many messages at once as window, pace and buffer let it.
func (p *leanPublisher) publishes(ctx context.Context) error {
	body := make([]byte, p.load.bodyBytes)
	method := wire.BasicPublish{RoutingKey: []byte(queue)}
	properties := []byte{0x10, 0x00, 2} // delivery-mode: persistent
	for sent := uint64(0); ; {
		for sent-p.confirmed.Load() < uint64(p.load.window) && len(p.conn.out) < leanOutBytes && p.mayPublish(ctx) {
			now := time.Since(epoch)
			p.at[sent%uint64(p.load.window)].Store(int64(now))
			binary.BigEndian.PutUint64(body, uint64(now))
			p.conn.out = method.AppendFrame(p.conn.out, leanChannel)
			p.conn.out = wire.AppendContent(p.conn.out, leanChannel, p.conn.frameMax, properties, body)
			sent++
		}
		if len(p.conn.out) > 0 {
			if err := p.conn.flush(); err != nil {
				return err
			}
			continue
		}
		select {
		case <-p.progress:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// mayPublish takes one turn of the pace; it waits for it only when there is nothing to write meanwhile.
func (p *leanPublisher) mayPublish(ctx context.Context) bool {
	switch {
	case p.load.pace == nil:
		return true
	case len(p.conn.out) > 0:
		select {
		case _, ok := <-p.load.pace:
			return ok
		default:
			return false
		}
	}
	select {
	case _, ok := <-p.load.pace:
		return ok
	case <-ctx.Done():
		return false
	}
}

// confirms reads acks. They come in order: one queue, one channel.
func (p *leanPublisher) confirms() error {
	confirmed := uint64(0)
	return p.conn.each(func(f wire.Frame) error {
		id, arguments, err := methodOf(f)
		if err != nil || id != wire.IDBasicAck {
			return errors.Join(err, unexpected(id, arguments))
		}
		var ack wire.BasicAck
		if err := ack.Decode(arguments); err != nil {
			return err
		}
		if !ack.Multiple && ack.DeliveryTag != confirmed+1 {
			return fmt.Errorf("confirm of %d after %d", ack.DeliveryTag, confirmed)
		}
		for now := time.Since(epoch); confirmed < ack.DeliveryTag; confirmed++ {
			p.meter.noteConfirm(now - time.Duration(p.at[confirmed%uint64(p.load.window)].Load()))
		}
		return nil
	}, func() error {
		p.confirmed.Store(confirmed)
		select {
		case p.progress <- struct{}{}:
		default:
		}
		return nil
	})
}

// each hands out frames, and calls idle whenever all that had arrived are dealt with.
func (c *leanConn) each(frame func(wire.Frame) error, idle func() error) error {
	for {
		f, ok, err := c.frames.Next()
		switch {
		case err != nil:
			return err
		case ok:
			err = frame(f)
		default:
			if err = idle(); err == nil {
				err = c.frames.Fill(c.socket)
			}
		}
		if err != nil {
			return err
		}
	}
}

func methodOf(f wire.Frame) (wire.MethodID, []byte, error) {
	if f.Type != wire.FrameMethod {
		return 0, nil, fmt.Errorf("unexpected frame of type %d", f.Type)
	}
	return wire.SplitMethod(f.Payload)
}

// consumeLean is consume with the lean client: an ack per message, those for one read in one write.
func (m *meter) consumeLean(ctx context.Context, n *harness.Node, prefetch int) error {
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := dialLean(own, n)
	if err != nil {
		return err
	}
	if err := c.ask(leanChannel, &wire.BasicQos{PrefetchCount: uint16(prefetch)}, &wire.BasicQosOk{}); err != nil {
		return err
	}
	if err := c.ask(leanChannel, &wire.BasicConsume{Queue: queue, ConsumerTag: "lean"}, &wire.BasicConsumeOk{}); err != nil {
		return err
	}
	r := leanReceiver{meter: m, conn: c}
	err = c.each(r.frame, r.flush)
	if ctx.Err() != nil {
		return nil // told to stop
	}
	return err
}

// leanReceiver puts deliveries together.
type leanReceiver struct {
	meter   *meter
	conn    *leanConn
	tag     uint64
	missing uint64 // bytes of the body
	stamped bool   // the body's time was read
	acks    int64  // in conn.out
}

func (r *leanReceiver) frame(f wire.Frame) error {
	switch f.Type {
	case wire.FrameHeader:
		header, err := wire.DecodeContentHeader(f.Payload)
		r.missing, r.stamped = header.BodySize, false
		return err
	case wire.FrameBody:
		if !r.stamped {
			r.meter.noteDelivery(f.Payload)
			r.stamped = true
		}
		if r.missing -= min(r.missing, uint64(len(f.Payload))); r.missing == 0 {
			r.conn.out = (&wire.BasicAck{DeliveryTag: r.tag}).AppendFrame(r.conn.out, leanChannel)
			r.acks++
		}
		return nil
	}
	id, arguments, err := methodOf(f)
	if err != nil || id != wire.IDBasicDeliver {
		return errors.Join(err, unexpected(id, arguments))
	}
	var d wire.BasicDeliver
	err = d.Decode(arguments)
	r.tag = d.DeliveryTag
	return err
}

func (r *leanReceiver) flush() error {
	if r.acks == 0 {
		return nil
	}
	err := r.conn.flush()
	r.meter.acked.Add(r.acks)
	r.acks = 0
	return err
}
