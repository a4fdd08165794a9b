package amqp

import (
	"context"
	"errors"
	"testing"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/fsm"
)

// makeUser makes a user whose password is his name.
func makeUser(t *testing.T, n *broker.Node, name string, tags ...string) {
	t.Helper()
	h, err := broker.HashPassword(name)
	if err == nil {
		err = n.PutUser(t.Context(), broker.UserSpec{Name: name, Password: h, Tags: tags})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func connectAs(s *Server, user, vhost string) (*amqp091.Connection, error) {
	return amqp091.Dial("amqp://" + user + ":" + user + "@" + s.Addr().String() + "/" + vhost)
}

// TestUsers: what a user may not do shows at its level with RabbitMQ's code and words, and the end of a user ends his connections.
func TestUsers(t *testing.T) {
	n := newNode(t)
	s := serve(t, ForNode(n), testConfig())
	makeUser(t, n, "ann", "impersonator")
	var e *amqp091.Error
	if _, err := connectAs(s, "ann", ""); !errors.As(err, &e) && !errors.Is(err, amqp091.ErrVhost) {
		t.Errorf("a user without a permission: %v", err)
	}
	if err := n.PutPermission(t.Context(), fsm.PermissionView{VHost: "/", User: "ann", Configure: "^ann", Write: "^(ann|amq\\.default$)", Read: "^ann"}); err != nil {
		t.Fatal(err)
	}
	conn, err := connectAs(s, "ann", "")
	if err != nil {
		t.Fatal(err)
	}
	closed := conn.NotifyClose(make(chan *amqp091.Error, 1))
	_, err = openChannel(t, conn).QueueDeclare("q", false, false, false, false, nil)
	const want = "ACCESS_REFUSED - configure access to queue 'q' in vhost '/' refused for user 'ann'"
	if !errors.As(err, &e) || e.Code != 403 || e.Reason != want {
		t.Errorf("another's queue: %v, want %s", err, want)
	}
	ch := openChannel(t, conn)
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	// In another's name: the tag allows it.
	confirm, err := ch.PublishWithDeferredConfirm("", "ann-q", false, false, amqp091.Publishing{UserId: "bob"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), waitMax)
	defer cancel()
	if ok, err := confirm.WaitContext(ctx); !ok || err != nil {
		t.Errorf("a message in another user's name: %v, %v", ok, err)
	}
	if err := n.DeleteUser(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	if why := receive(t, closed, "the end of a deleted user's connection"); why.Code != 320 || why.Reason != "CONNECTION_FORCED - user 'ann' was deleted" {
		t.Errorf("a deleted user's connection ends with %v", why)
	}
	if _, err := connectAs(s, "ann", ""); !errors.Is(err, amqp091.ErrCredentials) {
		t.Errorf("a deleted user: %v", err)
	}
}

// TestReplyPermission: a direct reply is a publish to the default exchange for permissions too, in a transaction and outside.
func TestReplyPermission(t *testing.T) {
	n := newNode(t)
	s := serve(t, ForNode(n), testConfig())
	asker := openChannel(t, connect(t, s))
	replies, err := asker.Consume(directReplyTo, "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := asker.QueueDeclare("work", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := asker.Publish("", "work", true, false, amqp091.Publishing{ReplyTo: directReplyTo}); err != nil {
		t.Fatal(err)
	}
	makeUser(t, n, "ann")
	allow := func(write string) {
		t.Helper()
		if err := n.PutPermission(t.Context(), fsm.PermissionView{VHost: "/", User: "ann", Configure: ".*", Write: write, Read: ".*"}); err != nil {
			t.Fatal(err)
		}
	}
	allow("^work$")
	conn, err := connectAs(s, "ann", "")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	request, ok, err := openChannel(t, conn).Get("work", true)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	for _, transactional := range []bool{false, true} {
		ch := openChannel(t, conn)
		closed := ch.NotifyClose(make(chan *amqp091.Error, 1))
		if transactional {
			if err := ch.Tx(); err != nil {
				t.Fatal(err)
			}
		}
		if err := ch.Publish("", request.ReplyTo, false, false, amqp091.Publishing{Body: []byte("refused")}); err != nil {
			t.Fatal(err)
		}
		const want = "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'ann'"
		if why := receive(t, closed, "the refusal of a reply"); why.Code != 403 || why.Reason != want {
			t.Errorf("a reply without permission, transactional %v: %v, want %s", transactional, why, want)
		}
	}
	allow("^amq\\.default$")
	if err := openChannel(t, conn).Publish("", request.ReplyTo, false, false, amqp091.Publishing{Body: []byte("allowed")}); err != nil {
		t.Fatal(err)
	}
	if d := receive(t, replies, "the reply"); string(d.Body) != "allowed" {
		t.Errorf("the requester got %q", d.Body)
	}
}

// TestEndSession: an operator closes a connection, which is told why.
func TestEndSession(t *testing.T) {
	n := newNode(t)
	s := serve(t, ForNode(n), testConfig())
	closed := connect(t, s).NotifyClose(make(chan *amqp091.Error, 1))
	session := n.Sessions()[0]
	if err := n.EndSession(t.Context(), session.Origin, session.Conn, "Closed via management plugin"); err != nil {
		t.Fatal(err)
	}
	if why := receive(t, closed, "the end of the connection"); why.Code != 320 || why.Reason != "CONNECTION_FORCED - Closed via management plugin" {
		t.Errorf("the connection ends with %v", why)
	}
	var refusal *broker.Refusal
	if err := n.EndSession(t.Context(), session.Origin, session.Conn, "again"); !errors.As(err, &refusal) || refusal.Code != fsm.NotFound {
		t.Errorf("a connection that is over: %v", err)
	}
}
