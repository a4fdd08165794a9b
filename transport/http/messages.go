package http

import (
	"context"
	"encoding/base64"
	"errors"
	"strconv"
	"unicode/utf8"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/fsm/content"
)

// gotBytesMax bounds what one get returns; what is left is simply not got.
const gotBytesMax = 64 << 20

// Property names of the API, by flag.
var propertyNames = []struct {
	flag uint16
	name string
}{
	{content.HasClusterID, "cluster_id"}, {content.HasAppID, "app_id"}, {content.HasUserID, "user_id"}, {content.HasType, "type"},
	{content.HasTimestamp, "timestamp"}, {content.HasMessageID, "message_id"}, {content.HasExpiration, "expiration"}, {content.HasReplyTo, "reply_to"},
	{content.HasCorrelationID, "correlation_id"}, {content.HasPriority, "priority"}, {content.HasDeliveryMode, "delivery_mode"},
	{content.HasHeaders, "headers"}, {content.HasContentEncoding, "content_encoding"}, {content.HasContentType, "content_type"},
}

func textProperty(p *content.Properties, flag uint16) *string {
	switch flag {
	case content.HasClusterID:
		return &p.ClusterID
	case content.HasAppID:
		return &p.AppID
	case content.HasUserID:
		return &p.UserID
	case content.HasType:
		return &p.Type
	case content.HasMessageID:
		return &p.MessageID
	case content.HasExpiration:
		return &p.Expiration
	case content.HasReplyTo:
		return &p.ReplyTo
	case content.HasCorrelationID:
		return &p.CorrelationID
	case content.HasContentEncoding:
		return &p.ContentEncoding
	case content.HasContentType:
		return &p.ContentType
	}
	return nil
}

// propertiesJSON has what is present. Without any it is an empty array, as RabbitMQ writes it.
func propertiesJSON(encoded []byte, deliveries uint32) any {
	p, err := content.DecodeProperties(encoded)
	if err != nil {
		return []object{} // never: they were validated when the message was published
	}
	if deliveries > 0 {
		p.Headers = p.Headers.With("x-delivery-count", int64(deliveries))
		p.Has |= content.HasHeaders
	}
	o := object{}
	for _, n := range propertyNames {
		if p.Has&n.flag == 0 {
			continue
		}
		switch n.flag {
		case content.HasTimestamp:
			o = append(o, field{n.name, uint64(p.Timestamp)})
		case content.HasPriority:
			o = append(o, field{n.name, int(p.Priority)})
		case content.HasDeliveryMode:
			o = append(o, field{n.name, int(p.DeliveryMode)})
		case content.HasHeaders:
			o = append(o, field{n.name, fieldsJSON(p.Headers)})
		default:
			o = append(o, field{n.name, textJSON([]byte(*textProperty(&p, n.flag)))})
		}
	}
	if len(o) == 0 {
		return []object{}
	}
	return o
}

// propertiesOf reads properties; names that AMQP does not have are ignored, as RabbitMQ does.
func propertiesOf(f fields) (content.Properties, error) {
	var p content.Properties
	for _, n := range propertyNames {
		if f[n.name] == nil {
			continue
		}
		p.Has |= n.flag
		if err := setProperty(&p, n.flag, f, n.name); err != nil {
			return p, err
		}
	}
	if err := p.Validate(); err != nil {
		return p, badRequest(err.Error())
	}
	return p, nil
}

func setProperty(p *content.Properties, flag uint16, f fields, name string) (err error) {
	switch flag {
	case content.HasHeaders:
		var headers fields
		if headers, err = f.object(name); err == nil {
			p.Headers, err = tableOf(headers)
		}
		return err
	case content.HasTimestamp:
		n, err := f.integer(name, 0)
		p.Timestamp = content.Timestamp(n)
		return err
	case content.HasPriority, content.HasDeliveryMode:
		n, err := f.integer(name, 0)
		if err != nil || n < 0 || n > 255 {
			return badRequest([]any{"not_int", name})
		}
		if flag == content.HasPriority {
			p.Priority = uint8(n)
		} else {
			p.DeliveryMode = uint8(n)
		}
		return nil
	}
	*textProperty(p, flag), err = f.text(name)
	return err
}

func (r *request) publish() (response, error) {
	body, err := r.body()
	if err != nil {
		return response{}, err
	}
	x, err := r.theExchange()
	if err != nil {
		// RabbitMQ lets the channel find out.
		return response{}, badRequest("404 NOT_FOUND - no exchange '" + r.exchangeName() + "' in vhost '" + r.vhost() + "'")
	}
	message, err := r.publishing(x.Name, body)
	if err != nil {
		return response{}, err
	}
	routed := false
	err = r.withSession(r.vhost(), func(ctx context.Context, s *session) error {
		if err := s.broker.AwaitPublish(ctx); errors.Is(err, context.DeadlineExceeded) {
			return unavailable("nothing was published: an alarm of memory or disk holds publishers; /api/health/checks/alarms tells which")
		} else if err != nil {
			return err
		}
		o, err := s.do(ctx, func(ref fsm.Ref) fsm.Command {
			message.Ref = ref
			return message
		})
		routed = !o.returned
		return err
	})
	if err != nil {
		return response{}, err
	}
	return ok(object{{"routed", routed}})
}

// publishing reads a message to be published.
func (r *request) publishing(exchange string, body fields) (*fsm.Publish, error) {
	if err := body.needs("routing_key", "payload", "payload_encoding", "properties"); err != nil {
		return nil, err
	}
	key, err := body.name("routing_key")
	if err != nil {
		return nil, err
	}
	payload, err := payloadOf(body, r.server.cfg.MessageBytesMax)
	if err != nil {
		return nil, err
	}
	given, err := body.object("properties")
	if err != nil {
		return nil, err
	}
	p, err := propertiesOf(given)
	if err != nil {
		return nil, err
	}
	if p.Has&content.HasUserID != 0 && p.UserID != r.who.User {
		return nil, badRequest("406 PRECONDITION_FAILED - user_id property set to '" + p.UserID + "' but authenticated user was '" + r.who.User + "'")
	}
	if p.Has&content.HasExpiration != 0 {
		if n, err := strconv.ParseInt(p.Expiration, 10, 64); err != nil || n < 0 {
			return nil, badRequest("406 PRECONDITION_FAILED - invalid expiration '" + p.Expiration + "'")
		}
	}
	message := &fsm.Publish{
		Exchange: []byte(exchange), RoutingKey: []byte(key), Mandatory: true, Confirm: 1, Priority: p.Priority, Properties: p.Append(nil), Body: payload,
	}
	if fsm.PublishSizeBytes(message, len(payload)) > fsm.CommandBytesMax {
		return nil, badRequest("the message is larger than a command may be")
	}
	return message, nil
}

func payloadOf(body fields, limitBytes int) ([]byte, error) {
	text, err := body.text("payload")
	if err != nil {
		return nil, err
	}
	encoding, err := body.text("payload_encoding")
	if err != nil {
		return nil, err
	}
	payload := []byte(text)
	switch encoding {
	case "string":
	case "base64":
		if payload, err = base64.StdEncoding.DecodeString(text); err != nil {
			return nil, badRequest([]any{"not_base64", "payload"})
		}
	default:
		return nil, badRequest([]any{"unsupported_encoding", encoding})
	}
	if len(payload) > limitBytes {
		return nil, badRequest("message size " + strconv.Itoa(len(payload)) + " is larger than configured max size " + strconv.Itoa(limitBytes))
	}
	return payload, nil
}

// getting is what a client wants of a queue's messages.
type getting struct {
	count    int64
	requeue  bool
	reject   bool // dead-letters what is not requeued
	base64   bool
	truncate int64 // bytes of a body; -1: all
}

func gettingOf(body fields) (g getting, err error) {
	if err := body.needs("count", "ackmode", "encoding"); err != nil {
		return g, err
	}
	if g.count, err = body.integer("count", 1); err != nil {
		return g, err
	}
	if g.truncate, err = body.integer("truncate", -1); err != nil {
		return g, err
	}
	switch mode := body["ackmode"]; mode {
	case "ack_requeue_true":
		g.requeue = true
	case "reject_requeue_true":
		g.requeue = true
	case "ack_requeue_false":
	case "reject_requeue_false":
		g.reject = true
	default:
		return g, badRequest([]any{"unsupported_ackmode", mode})
	}
	switch encoding := body["encoding"]; encoding {
	case "auto":
	case "base64":
		g.base64 = true
	default:
		return g, badRequest([]any{"unsupported_encoding", encoding})
	}
	return g, nil
}

func (r *request) getMessages() (response, error) {
	body, err := r.body()
	if err != nil {
		return response{}, err
	}
	g, err := gettingOf(body)
	if err != nil {
		return response{}, err
	}
	messages := []object{}
	err = r.withSession(r.vhost(), func(ctx context.Context, s *session) error {
		messages, err = s.get(ctx, r.args["queue"], &g, r.reserve)
		return err
	})
	if err != nil {
		return response{}, err
	}
	return ok(messages)
}

// get takes messages one after the other. Those to be requeued are held until the session ends, which returns them: looking is nobody's failure.
// reserve is told the size of each, and says whether there is room for another.
func (s *session) get(ctx context.Context, queue string, g *getting, reserve func(sizeBytes int) bool) ([]object, error) {
	messages, size := []object{}, 0
	for more := true; int64(len(messages)) < g.count && size < gotBytesMax && more; {
		o, err := s.do(ctx, func(ref fsm.Ref) fsm.Command {
			return &fsm.Get{Ref: ref, Queue: queue, NoAck: !g.requeue && !g.reject}
		})
		if err != nil || o.empty {
			return messages, err
		}
		if g.reject {
			if err := s.broker.Submit(ctx, (&fsm.Nack{Ref: s.ref(), Tag: o.message.tag}).Append(nil)); err != nil {
				return messages, err
			}
		}
		size += len(o.message.body)
		more = reserve(len(o.message.body))
		messages = append(messages, o.message.object(g))
	}
	return messages, nil
}

func (m *message) object(g *getting) object {
	body := m.body
	if g.truncate >= 0 && int64(len(body)) > g.truncate {
		body = body[:g.truncate]
	}
	payload, encoding := string(body), "string"
	if g.base64 || !utf8.Valid(m.body) {
		payload, encoding = base64.StdEncoding.EncodeToString(body), "base64"
	} else if !utf8.Valid(body) { // cut in the middle of a character
		for !utf8.Valid(body) {
			body = body[:len(body)-1]
		}
		payload = string(body)
	}
	return object{
		{"payload_bytes", len(m.body)},
		{"redelivered", m.redelivered},
		{"exchange", m.exchange},
		{"routing_key", m.key},
		{"message_count", int(m.left)},
		{"properties", propertiesJSON(m.properties, m.deliveries)},
		{"payload", payload},
		{"payload_encoding", encoding},
	}
}
