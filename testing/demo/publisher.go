package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/testing/harness"
)

// unconfirmedMax bounds the publishes in flight.
const unconfirmedMax = 100

// publisher is the web application: it publishes every event until it is confirmed, moving to another node when its own dies. What was in flight then is
// published again, so a duplicate is possible and a loss is not.
type publisher struct {
	nodes []*harness.Node
	story *story
	conn  *amqp.Connection // the present one
}

func (p *publisher) run(ctx context.Context) error {
	todo := make([]*event, 0, len(p.story.events))
	for i := range p.story.events {
		todo = append(todo, &p.story.events[i])
	}
	for k := 0; len(todo) > 0; k++ {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var err error
		todo, err = p.session(ctx, p.nodes[k%len(p.nodes)], todo)
		if err != nil {
			fmt.Printf("the publisher lost %s (%v): %d events are not confirmed yet, it goes on elsewhere\n", p.nodes[k%len(p.nodes)].Name, err, len(todo))
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
	return nil
}

type inFlight struct {
	e  *event
	dc *amqp.DeferredConfirmation
}

// session publishes over one connection and returns what is not confirmed.
func (p *publisher) session(ctx context.Context, n *harness.Node, todo []*event) (rest []*event, err error) {
	conn, err := amqp.DialConfig(n.URL(), amqp.Config{Dial: amqp.DefaultDial(2 * time.Second), Properties: amqp.Table{"connection_name": "web application"}})
	if err != nil {
		return todo, err
	}
	defer conn.Close()
	p.conn = conn
	ch, err := conn.Channel()
	if err != nil {
		return todo, err
	}
	if err := ch.Confirm(false); err != nil {
		return todo, err
	}
	lost, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	go func() {
		select {
		case e := <-closed:
			cancel(fmt.Errorf("connection closed: %v", e))
		case <-lost.Done():
		}
	}()
	var flight []inFlight
	for i, e := range todo {
		if len(flight) == unconfirmedMax {
			if err := p.await(lost, flight[0]); err != nil {
				return remaining(flight, todo[i:]), err
			}
			flight = flight[1:]
		}
		e.At = time.Now()
		dc, err := ch.PublishWithDeferredConfirm(exchange, e.Kind, true, false, e.publishing())
		if err != nil {
			return remaining(flight, todo[i:]), err
		}
		flight = append(flight, inFlight{e, dc})
	}
	for len(flight) > 0 {
		if err := p.await(lost, flight[0]); err != nil {
			return remaining(flight, nil), err
		}
		flight = flight[1:]
	}
	return nil, nil
}

func (p *publisher) await(ctx context.Context, f inFlight) error {
	ok, err := f.dc.WaitContext(ctx)
	if err != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	if !ok && p.conn.IsClosed() {
		return errors.New("connection lost") // the library then reports all that is unconfirmed as refused
	}
	if !ok {
		return fmt.Errorf("%s was refused", f.e.ID)
	}
	p.story.confirm(f.e.ID)
	return nil
}

func remaining(flight []inFlight, unpublished []*event) (out []*event) {
	for _, f := range flight {
		out = append(out, f.e)
	}
	return append(out, unpublished...)
}
