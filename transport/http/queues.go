package http

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/triagemq/triagemq/fsm"
)

func (r *request) listQueues() (response, error) {
	p, err := r.paging()
	if err != nil {
		return response{}, err
	}
	names := r.queueNames()
	total := len(names)
	if p.page > 0 {
		names = slices.DeleteFunc(names, func(n fsm.ObjectName) bool { return !p.name(n.Name) })
	}
	filtered := len(names)
	if sort := r.query.Get("sort"); p.page == 0 || sort != "" {
		if sort == "" {
			return ok(queueStream{request: r, names: names})
		}
		items := r.queues(names)
		r.sort(items)
		if p.page == 0 {
			return ok(r.columns(items))
		}
		from, to, err := p.cut(len(items))
		if err != nil {
			return response{}, err
		}
		return ok(p.envelope(r.columns(items[from:to]), filtered, total))
	}
	from, to, err := p.cut(len(names)) // the names are in order: of 50,000 queues only the page is looked at
	if err != nil {
		return response{}, err
	}
	return ok(p.envelope(r.columns(r.queues(names[from:to])), filtered, total))
}

// queueNames are those of the virtual host in the path, or of all that the user sees.
func (r *request) queueNames() []fsm.ObjectName {
	if vhost := r.vhost(); vhost != "" {
		return r.server.broker.QueueNames(vhost)
	}
	visible := r.visible()
	return slices.DeleteFunc(r.server.broker.QueueNames(""), func(n fsm.ObjectName) bool { return !slices.Contains(visible, n.VHost) })
}

func (r *request) queues(names []fsm.ObjectName) []object {
	items := make([]object, 0, len(names))
	r.eachQueue(names, func(o object) { items = append(items, o) })
	return items
}

// eachQueue makes the objects of queues, as far as the request's columns need them.
func (r *request) eachQueue(names []fsm.ObjectName, f func(o object)) {
	where := r.replicas()
	rates := r.server.broker.Rates()
	bare, counted := r.query.Get("disable_stats") == "true", r.query.Get("enable_queue_totals") == "true"
	paths := r.columnPaths()
	wantsMessageStats := paths == nil || slices.ContainsFunc(paths, func(path string) bool { return strings.HasPrefix(path, "message_stats") })
	for chunk := range slices.Chunk(names, queuesAtOnce) {
		for _, q := range r.server.broker.QueueDetails(chunk) {
			o := queueBasics(&q, &where)
			switch of := rates.Of(q.Serial); {
			case !bare:
				o = append(o, r.lengthSamples(messageCounts(q.Ready, q.Held, &of))...)
				o = appendQueueStats(o, &q)
				if wantsMessageStats {
					o = append(o, field{"message_stats", messageStats(queueCounters, &q.Meter.Counts, &of)})
				}
			case counted:
				o = append(o, field{"messages", q.Ready + q.Held}, field{"messages_ready", q.Ready}, field{"messages_unacknowledged", q.Held})
			}
			f(o)
		}
	}
}

// queuesAtOnce bounds what a long list holds in memory.
const queuesAtOnce = 500

// queueStream is a list of queues that is made while it is written.
type queueStream struct {
	request *request
	names   []fsm.ObjectName
}

// writeTo implements stream.
func (l queueStream) writeTo(w io.Writer) {
	b := []byte{'['}
	paths := l.request.columnPaths()
	l.request.eachQueue(l.names, func(o object) {
		if len(b) == 0 || b[len(b)-1] != '[' {
			b = append(b, ',')
		}
		if paths != nil {
			o = o.pick(paths)
		}
		b = o.appendJSON(b)
		if len(b) > streamBytes {
			w.Write(b)
			b = b[:0]
		}
	})
	w.Write(append(b, ']', '\n'))
}

// streamBytes is about how much is written at once.
const streamBytes = 64 << 10

// queueFields is about how many a queue has.
const queueFields = 48

// queueBasics is what a queue is.
func queueBasics(q *fsm.QueueDetail, where *replicas) object {
	kind := "classic"
	if q.Quorum {
		kind = "quorum"
	}
	o := make(object, 0, queueFields)
	o = append(o, object{
		{"name", q.Name},
		{"vhost", q.VHost},
		{"type", kind},
		{"durable", q.Durable},
		{"auto_delete", q.AutoDelete},
		{"exclusive", q.Exclusive},
		{"internal", false},
		{"arguments", tableJSON(q.Arguments)},
		{"node", where.leader},
		{"leader", where.leader},
		{"members", where.members},
		{"online", where.online},
		{"state", "running"},
	}...)
	return append(o, policyFields(&q.Policy)...)
}

func policyFields(p *fsm.AppliedPolicy) object {
	return object{
		{"policy", orNull(p.Policy)}, {"operator_policy", orNull(p.OperatorPolicy)}, {"effective_policy_definition", tableJSON(p.Definition)},
	}
}

// orNull is null for what is not there.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// appendQueueStats adds what happens in a queue.
func appendQueueStats(o object, q *fsm.QueueDetail) object {
	o = append(o, object{
		{"messages_delayed", q.Delayed},           // wait for their retry, neither ready nor unacknowledged
		{"messages_persistent", q.Ready + q.Held}, // all are on disk
		{"messages_ram", q.Ready + q.Held},        // and in memory
		{"messages_paged_out", 0},
		{"message_bytes", q.Bytes},
		{"message_bytes_ready", q.Bytes},
		{"message_bytes_persistent", q.Bytes},
		{"message_bytes_ram", q.Bytes},
		{"memory", q.Bytes},
		{"consumers", q.Consumers},
		{"consumer_utilisation", 0.0},
		{"consumer_capacity", 0.0},
		{"exclusive_consumer_tag", orNull(q.ExclusiveConsumer)},
		{"single_active_consumer_tag", orNull(q.ActiveConsumer)},
		{"head_message_timestamp", nil},
	}...)
	return append(o, idleSince(q.Meter.LastMillis)...)
}

// theQueue is the queue in the path.
func (r *request) theQueue() (fsm.QueueDetail, error) {
	found := r.server.broker.QueueDetails([]fsm.ObjectName{{VHost: r.vhost(), Name: r.args["queue"]}})
	if len(found) == 0 {
		return fsm.QueueDetail{}, notFound()
	}
	return found[0], nil
}

func (r *request) getQueue() (response, error) {
	q, err := r.theQueue()
	if err != nil {
		return response{}, err
	}
	items := r.queues([]fsm.ObjectName{{VHost: q.VHost, Name: q.Name, Serial: q.Serial}})
	if len(items) == 0 {
		return response{}, notFound()
	}
	o := items[0]
	var consumers []fsm.ConsumerView
	r.view(func(s *fsm.State) { consumers = s.Consumers(q.VHost, q.Name) })
	o = append(o, field{"consumer_details", r.consumers(consumers)}, field{"incoming", []object{}}, field{"deliveries", []object{}})
	if q.Exclusive {
		o = append(o, field{"owner_pid_details", r.connectionOf(q.OwnerSession).brief()})
	}
	return r.one(o)
}

func (r *request) putQueue() (response, error) {
	_, missing := r.theQueue()
	return r.declare(r.args["queue"], queueDeclaration, missing == nil)
}

// queueDeclaration reads a queue as definitions have it. Queues are durable unless they say otherwise.
func queueDeclaration(name string, body fields) (func(ref fsm.Ref) fsm.Command, error) {
	if len(name) > fsm.ShortStringBytesMax {
		return nil, badRequest("the name is longer than 255 bytes")
	}
	durable, err := body.bool("durable", true)
	if err != nil {
		return nil, err
	}
	autoDelete, err := body.bool("auto_delete", false)
	if err != nil {
		return nil, err
	}
	arguments, err := body.object("arguments")
	if err != nil {
		return nil, err
	}
	if kind, given := body["type"]; given && arguments["x-queue-type"] == nil && kind != "" {
		if arguments == nil {
			arguments = fields{}
		}
		arguments["x-queue-type"] = kind
	}
	table, err := encodedTable(arguments)
	if err != nil {
		return nil, err
	}
	return func(ref fsm.Ref) fsm.Command {
		return &fsm.DeclareQueue{Ref: ref, Name: name, Durable: durable, AutoDelete: autoDelete, Arguments: table}
	}, nil
}

func (r *request) deleteQueue() (response, error) {
	q, err := r.theQueue()
	if err != nil {
		return response{}, err
	}
	err = r.withSession(r.vhost(), func(ctx context.Context, s *session) error {
		_, err := s.do(ctx, func(ref fsm.Ref) fsm.Command {
			return &fsm.DeleteQueue{Ref: ref, Name: q.Name, IfUnused: r.query.Get("if-unused") == "true", IfEmpty: r.query.Get("if-empty") == "true"}
		})
		return err
	})
	if err != nil {
		return response{}, err
	}
	return noContent()
}

func (r *request) purgeQueue() (response, error) {
	q, err := r.theQueue()
	if err != nil {
		return response{}, err
	}
	err = r.withSession(r.vhost(), func(ctx context.Context, s *session) error {
		_, err := s.do(ctx, func(ref fsm.Ref) fsm.Command { return &fsm.PurgeQueue{Ref: ref, Name: q.Name} })
		return err
	})
	if err != nil {
		return response{}, err
	}
	return noContent()
}

// actOnQueue takes RabbitMQ's actions sync and cancel_sync: replicas here are always in step.
func (r *request) actOnQueue() (response, error) {
	body, err := r.body()
	if err == nil {
		err = body.needs("action")
	}
	if err != nil {
		return response{}, err
	}
	if action := body["action"]; action != "sync" && action != "cancel_sync" {
		return response{}, badRequest([]any{"unknown", action})
	}
	if _, err := r.theQueue(); err != nil {
		return response{}, err
	}
	return noContent()
}
