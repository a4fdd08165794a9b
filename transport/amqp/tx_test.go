package amqp

import (
	"errors"
	"testing"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/fsm"
)

// TestTransactionsAreBounded: what makes a transaction too large, in bytes or in commands, costs the channel at once, and nothing of it is done.
func TestTransactionsAreBounded(t *testing.T) {
	s := serve(t, ForNode(newNode(t)), testConfig())
	conn := connect(t, s)
	setup := openChannel(t, conn)
	if _, err := setup.QueueDeclare("q", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ messages, bodyBytes int }{
		"bytes":    {3, 12 << 20},
		"commands": {fsm.TxCommandsMax + 1, 0},
	} {
		ch := openChannel(t, conn)
		closed := ch.NotifyClose(make(chan *amqp091.Error, 1))
		if err := ch.Tx(); err != nil {
			t.Fatal(err)
		}
		body := make([]byte, c.bodyBytes)
		for range c.messages {
			if err := ch.PublishWithContext(t.Context(), "", "q", false, false, amqp091.Publishing{Body: body}); err != nil && !errors.Is(err, amqp091.ErrClosed) {
				t.Fatal(err)
			}
		}
		if e := receive(t, closed, "the end of the channel"); e.Code != 406 {
			t.Errorf("%s: %v", name, e)
		}
	}
	if q, err := setup.QueueDeclarePassive("q", false, false, false, false, nil); err != nil || q.Messages != 0 {
		t.Errorf("%+v, %v", q, err)
	}
}

// TestLargeTransaction commits close to what may be.
func TestLargeTransaction(t *testing.T) {
	s := serve(t, ForNode(newNode(t)), testConfig())
	ch := openChannel(t, connect(t, s))
	if _, err := ch.QueueDeclare("q", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.Tx(); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, 10<<20)
	for range 3 {
		if err := ch.PublishWithContext(t.Context(), "", "q", false, false, amqp091.Publishing{Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	if q, err := ch.QueueDeclarePassive("q", false, false, false, false, nil); err != nil || q.Messages != 0 {
		t.Fatalf("before commit: %+v, %v", q, err)
	}
	if err := ch.TxCommit(); err != nil {
		t.Fatal(err)
	}
	if q, err := ch.QueueDeclarePassive("q", false, false, false, false, nil); err != nil || q.Messages != 3 {
		t.Fatalf("after commit: %+v, %v", q, err)
	}
}
