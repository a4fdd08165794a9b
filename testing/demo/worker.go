package main

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/testing/harness"
)

// workTime is how long handling one event takes, so that a backlog builds up and urgent work has something to overtake.
const workTime = time.Millisecond

// startWorkers spreads the pools over the nodes; each worker moves on when its node dies.
func startWorkers(ctx context.Context, cluster *harness.Cluster, s *story) *sync.WaitGroup {
	var all sync.WaitGroup
	at := 0
	start := func(queue string, handle func(amqp.Delivery) error) {
		first := at
		at++
		all.Go(func() {
			for k := first; ctx.Err() == nil; k++ {
				consume(ctx, cluster.Nodes[k%len(cluster.Nodes)], queue, handle)
				select {
				case <-time.After(50 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	for _, q := range queues {
		for range q.workers {
			start(q.name, func(d amqp.Delivery) error { return work(s, &q, d) })
		}
	}
	start(deadQueue, func(d amqp.Delivery) error { return undertake(s, d) })
	return &all
}

// consume runs one worker on one node until its connection ends.
func consume(ctx context.Context, n *harness.Node, queue string, handle func(amqp.Delivery) error) error {
	conn, err := amqp.DialConfig(n.URL(), amqp.Config{Dial: amqp.DefaultDial(2 * time.Second), Properties: amqp.Table{"connection_name": "worker " + queue}})
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Qos(20, 0, false); err != nil {
		return err
	}
	deliveries, err := ch.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	for {
		select {
		case d, ok := <-deliveries:
			if !ok {
				return errors.New("channel closed")
			}
			if err := handle(d); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// work sends the mail: a strict worker cannot with a malformed address and hands the message back, until the broker sets it aside.
func work(s *story, q *queueSpec, d amqp.Delivery) error {
	var e event
	if err := json.Unmarshal(d.Body, &e); err != nil {
		return d.Reject(false)
	}
	if q.strict && e.malformed() {
		s.fail(q.name, e.ID)
		return d.Nack(false, true)
	}
	time.Sleep(workTime)
	s.take(q.name, e.ID, d.Redelivered)
	return d.Ack(false)
}

// undertake reads the dead letters and where they come from.
func undertake(s *story, d amqp.Delivery) error {
	queue, _ := d.Headers["x-first-death-queue"].(string)
	s.bury(queue, d.MessageId, d.Redelivered)
	return d.Ack(false)
}
