package http

import (
	"context"
	"slices"
	"strings"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/fsm"
)

// Definitions are everything but messages, in RabbitMQ's form. What is exclusive belongs to its connection and is left out, as is what every virtual host
// has anyhow.

func (r *request) exportDefinitions() (response, error) {
	o := append(object{{"rabbit_version", rabbitVersion}}, r.product()...)
	var users, vhosts, permissions, topics []object
	for _, u := range r.server.broker.Users() {
		users = append(users, userObject(&u))
	}
	for _, v := range r.server.broker.VHosts() {
		kind := defaultQueueType(&v)
		vhosts = append(vhosts, object{
			{"name", v.Name}, {"description", v.Description}, {"tags", orEmpty(v.Tags)}, {"default_queue_type", kind},
			{"metadata", object{{"description", v.Description}, {"tags", orEmpty(v.Tags)}, {"default_queue_type", kind}}},
		})
	}
	for _, p := range r.server.broker.Permissions() {
		permissions = append(permissions, permissionObject(&p))
	}
	for _, p := range r.server.broker.TopicPermissions() {
		topics = append(topics, topicPermissionObject(&p))
	}
	o = append(o, field{"users", users}, field{"vhosts", vhosts}, field{"permissions", permissions}, field{"topic_permissions", topics})
	o = append(o, r.exportParameters("")...)
	return ok(append(o, r.exportTopology("")...))
}

// exportVHostDefinitions leaves out users, and which virtual host things are in, so that they can be imported into another.
func (r *request) exportVHostDefinitions() (response, error) {
	o := append(object{{"rabbit_version", rabbitVersion}}, r.product()...)
	o = append(o, r.exportParameters(r.vhost())...)
	o = append(o, r.exportTopology(r.vhost())...)
	for _, f := range o {
		if items, isList := f.value.([]object); isList {
			for i := range items {
				items[i] = slices.DeleteFunc(items[i], func(f field) bool { return f.name == "vhost" })
			}
		}
	}
	return ok(o)
}

func (r *request) exportTopology(vhost string) object {
	exclusive := map[[2]string]bool{}
	queues, exchanges, bindings := []object{}, []object{}, []object{}
	for _, q := range r.server.broker.QueueDetails(r.server.broker.QueueNames(vhost)) {
		if q.Exclusive {
			exclusive[[2]string{q.VHost, q.Name}] = true
			continue
		}
		queues = append(queues, object{
			{"name", q.Name}, {"vhost", q.VHost}, {"durable", q.Durable}, {"auto_delete", q.AutoDelete}, {"arguments", tableJSON(q.Arguments)},
		})
	}
	for _, x := range r.server.broker.Exchanges(vhost) {
		if x.Name == "" || strings.HasPrefix(x.Name, "amq.") {
			continue
		}
		exchanges = append(exchanges, object{
			{"name", x.Name}, {"vhost", x.VHost}, {"type", x.Type}, {"durable", x.Durable}, {"auto_delete", x.AutoDelete}, {"internal", x.Internal},
			{"arguments", tableJSON(x.Arguments)},
		})
	}
	for _, b := range r.server.broker.Bindings(vhost) {
		if b.ToExchange || !exclusive[[2]string{b.VHost, b.Destination}] {
			o := bindingObject(&b)
			bindings = append(bindings, o[:len(o)-1]) // without its properties_key
		}
	}
	return object{{"queues", queues}, {"exchanges", exchanges}, {"bindings", bindings}}
}

// importBound is how long an import may take.
const importBound = answerBound - requestBound

func (r *request) importDefinitions() (response, error) {
	body, err := r.body()
	if err != nil {
		return response{}, err
	}
	return r.importInto("", body)
}

func (r *request) importVHostDefinitions() (response, error) {
	body, err := r.body()
	if err != nil {
		return response{}, err
	}
	for _, key := range []string{"users", "vhosts", "permissions", "topic_permissions", "global_parameters"} {
		delete(body, key)
	}
	return r.importInto(r.vhost(), body)
}

// importInto merges definitions: what is there and not among them stays; queues, exchanges and bindings that are there stay as they are; the rest is
// replaced. vhost is where things go that do not say it.
func (r *request) importInto(vhost string, body fields) (response, error) {
	if err := r.mayDeclare(); err != nil {
		return response{}, err
	}
	in := importer{request: r, vhost: vhost, body: body}
	for _, part := range []struct {
		key  string
		save func(item fields) error
	}{
		{"users", in.user}, {"vhosts", in.virtualHost}, {"permissions", in.permission}, {"topic_permissions", in.topicPermission},
		{"parameters", in.parameter}, {"global_parameters", in.globalParameter}, {"policies", in.policy},
	} {
		items, err := body.objects(part.key)
		if err != nil {
			return response{}, err
		}
		for _, item := range items {
			if err := part.save(item); err != nil {
				return response{}, err
			}
		}
	}
	if err := in.topology(); err != nil {
		return response{}, err
	}
	return noContent()
}

// importer carries one set of definitions into the cluster.
type importer struct {
	*request
	vhost string
	body  fields
}

// vhostOf says where a thing goes.
func (in *importer) vhostOf(item fields) (string, error) {
	if in.vhost != "" {
		return in.vhost, nil
	}
	if err := item.needs("vhost"); err != nil {
		return "", err
	}
	return item.name("vhost")
}

func (in *importer) user(item fields) error {
	name, err := item.name("name")
	if err != nil {
		return err
	}
	if err := in.saveUser(name, item); err != nil {
		return err
	}
	limits, err := item.object("limits")
	if err != nil || len(limits) == 0 {
		return err
	}
	both, err := bothLimits(limits, userLimitNames)
	if err != nil {
		return err
	}
	_, err = in.changed(func(ctx context.Context) error { return in.server.broker.PutUserLimits(ctx, name, both[0], both[1]) })
	return err
}

func bothLimits(limits fields, names [2]string) (both [2]int64, err error) {
	for i, name := range names {
		if both[i], err = limits.integer(name, fsm.NoLimit); err != nil {
			return both, err
		}
	}
	return both, nil
}

func (in *importer) virtualHost(item fields) error {
	name, err := item.name("name")
	if err != nil {
		return err
	}
	return in.saveVHost(name, item)
}

func (in *importer) permission(item fields) error {
	vhost, err := in.vhostOf(item)
	if err != nil {
		return err
	}
	user, err := item.name("user")
	if err != nil {
		return err
	}
	return in.savePermission(vhost, user, item)
}

func (in *importer) topicPermission(item fields) error {
	vhost, err := in.vhostOf(item)
	if err != nil {
		return err
	}
	user, err := item.name("user")
	if err != nil {
		return err
	}
	return in.saveTopicPermission(vhost, user, item)
}

// topology imports queues, exchanges and bindings, with one session for each virtual host.
func (in *importer) topology() error {
	byVHost := map[string][]func(ref fsm.Ref) fsm.Command{}
	for _, part := range []struct {
		key     string
		command func(vhost string, item fields) (func(ref fsm.Ref) fsm.Command, error)
	}{{"queues", in.queue}, {"exchanges", in.exchange}, {"bindings", in.binding}} {
		items, err := in.body.objects(part.key)
		if err != nil {
			return err
		}
		for _, item := range items {
			vhost, err := in.vhostOf(item)
			if err != nil {
				return err
			}
			command, err := part.command(vhost, item)
			if err != nil {
				return err
			}
			if command != nil {
				byVHost[vhost] = append(byVHost[vhost], command)
			}
		}
	}
	ctx, cancel := context.WithTimeout(in.ctx(), importBound)
	defer cancel()
	for vhost, commands := range byVHost {
		err := in.withSessionUntil(ctx, vhost, func(ctx context.Context, s *session) error {
			outcomes, err := s.all(ctx, commands)
			return firstRefusal(outcomes, err)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func firstRefusal(outcomes []outcome, err error) error {
	for _, o := range outcomes {
		if o.refusal != nil {
			return &broker.Refusal{Code: fsm.PreconditionFailed, Text: o.refusal.Text}
		}
	}
	return err
}

func (in *importer) queue(vhost string, item fields) (func(ref fsm.Ref) fsm.Command, error) {
	return in.unlessThere(item, queueDeclaration, func(s *fsm.State, name string) (there bool) { _, there = s.Queue(vhost, name); return there })
}

func (in *importer) exchange(vhost string, item fields) (func(ref fsm.Ref) fsm.Command, error) {
	return in.unlessThere(item, exchangeDeclaration, func(s *fsm.State, name string) (there bool) { _, there = s.Exchange(vhost, name); return there })
}

// unlessThere reads what an item declares. It is nil where one of that name is there: it stays as it is, whatever was asked.
func (in *importer) unlessThere(item fields, read declaration, there func(s *fsm.State, name string) bool) (func(ref fsm.Ref) fsm.Command, error) {
	name, err := item.name("name")
	if err != nil {
		return nil, err
	}
	exists := false
	in.view(func(s *fsm.State) { exists = there(s, name) })
	if exists {
		return nil, nil
	}
	return read(name, item)
}

func (in *importer) binding(_ string, item fields) (func(ref fsm.Ref) fsm.Command, error) {
	source, err := item.name("source")
	if err != nil {
		return nil, err
	}
	destination, err := item.name("destination")
	if err != nil {
		return nil, err
	}
	key, table, err := bindingBody(item)
	if err != nil {
		return nil, err
	}
	if source == "" { // every queue has it
		return nil, nil
	}
	return func(ref fsm.Ref) fsm.Command {
		return &fsm.Bind{Ref: ref, Source: source, Destination: destination, ToExchange: item["destination_type"] == "exchange", Key: key, Arguments: table}
	}, nil
}
