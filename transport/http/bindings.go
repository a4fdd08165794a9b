package http

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/fsm/content"
)

// propertiesKey names a binding among those with the same ends, in RabbitMQ's form: the routing key, quoted, and behind "~" a hash of the arguments where
// there are any. RabbitMQ hashes Erlang's external term format, this the arguments' canonical encoding: clients take the key from a list, they cannot make it.
func propertiesKey(key string, arguments []byte) string {
	t := decodedTable(arguments)
	if len(t) == 0 {
		if key == "" {
			return "~"
		}
		return quoted(key)
	}
	hash := md5.Sum(content.AppendCanonical(nil, t))
	return quoted(key) + "~" + base64.RawURLEncoding.EncodeToString(hash[:])
}

func quoted(key string) string { return strings.ReplaceAll(url.QueryEscape(key), "~", "%7E") }

func decodedTable(encoded []byte) content.Table {
	if len(encoded) == 0 {
		return nil
	}
	t, _, _ := content.DecodeTable(encoded) // validated when it came in
	return t
}

func bindingObject(b *fsm.BindingView) object {
	kind := "queue"
	if b.ToExchange {
		kind = "exchange"
	}
	return object{
		{"source", b.Source},
		{"vhost", b.VHost},
		{"destination", b.Destination},
		{"destination_type", kind},
		{"routing_key", b.Key},
		{"arguments", tableJSON(b.Arguments)},
		{"properties_key", propertiesKey(b.Key, b.Arguments)},
	}
}

func (r *request) bindingList(bindings []fsm.BindingView) (response, error) {
	items := make([]object, len(bindings))
	for i := range bindings {
		items[i] = bindingObject(&bindings[i])
	}
	return r.list(items)
}

// defaultBindings are those that queues have without being bound.
func defaultBindings(names []fsm.ObjectName) []fsm.BindingView {
	bindings := make([]fsm.BindingView, len(names))
	for i, q := range names {
		bindings[i] = fsm.BindingView{VHost: q.VHost, Destination: q.Name, Key: q.Name}
	}
	return bindings
}

func (r *request) listBindings() (response, error) {
	bindings := append(defaultBindings(r.queueNames()), r.server.broker.Bindings(r.vhost())...)
	if r.vhost() == "" {
		visible := r.visible()
		bindings = slices.DeleteFunc(bindings, func(b fsm.BindingView) bool { return !slices.Contains(visible, b.VHost) })
	}
	return r.bindingList(bindings)
}

func (r *request) listQueueBindings() (response, error) {
	q, err := r.theQueue()
	if err != nil {
		return response{}, err
	}
	bindings := defaultBindings([]fsm.ObjectName{{VHost: q.VHost, Name: q.Name}})
	r.view(func(s *fsm.State) { bindings = append(bindings, s.BindingsToQueue(q.VHost, q.Name)...) })
	return r.bindingList(bindings)
}

func (r *request) listBindingsFrom() (response, error) {
	x, err := r.theExchange()
	if err != nil {
		return response{}, err
	}
	if x.Name == "" {
		return r.bindingList(defaultBindings(r.queueNames()))
	}
	var bindings []fsm.BindingView
	r.view(func(s *fsm.State) { bindings = s.BindingsFrom(x.VHost, x.Name) })
	return r.bindingList(bindings)
}

func (r *request) listBindingsTo() (response, error) {
	x, err := r.theExchange()
	if err != nil {
		return response{}, err
	}
	var bindings []fsm.BindingView
	r.view(func(s *fsm.State) { bindings = s.BindingsToExchange(x.VHost, x.Name) })
	return r.bindingList(bindings)
}

// ends are what a path of the form bindings/{vhost}/e/{source}/q|e/{destination} names.
type ends struct {
	source, destination string
	toExchange          bool
}

func (r *request) ends() (ends, error) {
	e := ends{source: r.args["source"], destination: r.args["destination"]}
	if e.source == defaultExchangeName {
		e.source = ""
	}
	switch r.args["kind"] {
	case "e":
		e.toExchange = true
	case "q":
	default:
		return e, notFound()
	}
	if len(e.source) > fsm.ShortStringBytesMax || len(e.destination) > fsm.ShortStringBytesMax {
		return e, notFound()
	}
	return e, nil
}

// between lists the bindings between the ends in the path.
func (r *request) between() ([]fsm.BindingView, error) {
	e, err := r.ends()
	if err != nil {
		return nil, err
	}
	var bindings []fsm.BindingView
	r.view(func(s *fsm.State) {
		if e.toExchange {
			bindings = s.BindingsToExchange(r.vhost(), e.destination)
			return
		}
		bindings = s.BindingsToQueue(r.vhost(), e.destination)
		if _, there := s.Queue(r.vhost(), e.destination); there {
			bindings = append(bindings, fsm.BindingView{VHost: r.vhost(), Destination: e.destination, Key: e.destination})
		}
	})
	return slices.DeleteFunc(bindings, func(b fsm.BindingView) bool { return b.Source != e.source }), nil
}

func (r *request) listBetween() (response, error) {
	bindings, err := r.between()
	if err != nil {
		return response{}, err
	}
	return r.bindingList(bindings)
}

// theBinding is the binding in the path. Some clients do not quote the key, which is quoted already, once more.
func (r *request) theBinding() (fsm.BindingView, error) {
	bindings, err := r.between()
	if err != nil {
		return fsm.BindingView{}, err
	}
	given := r.args["properties"]
	for _, exact := range []bool{true, false} {
		for _, b := range bindings {
			key := propertiesKey(b.Key, b.Arguments)
			if !exact {
				key, _ = url.QueryUnescape(key)
			}
			if key == given {
				return b, nil
			}
		}
	}
	return fsm.BindingView{}, notFound()
}

func (r *request) getBinding() (response, error) {
	b, err := r.theBinding()
	if err != nil {
		return response{}, err
	}
	return r.one(bindingObject(&b))
}

func (r *request) postBinding() (response, error) {
	body, err := r.body()
	if err == nil {
		err = r.mayDeclare()
	}
	if err != nil {
		return response{}, err
	}
	e, err := r.ends()
	if err != nil {
		return response{}, err
	}
	key, table, err := bindingBody(body)
	if err != nil {
		return response{}, err
	}
	err = r.withSession(r.vhost(), func(ctx context.Context, s *session) error {
		_, err := s.do(ctx, func(ref fsm.Ref) fsm.Command {
			return &fsm.Bind{Ref: ref, Source: e.source, Destination: e.destination, ToExchange: e.toExchange, Key: key, Arguments: table}
		})
		return err
	})
	if err != nil {
		return response{}, err
	}
	return response{status: 201, location: url.PathEscape(e.destination) + "/" + url.PathEscape(propertiesKey(key, table))}, nil
}

func bindingBody(body fields) (key string, table []byte, err error) {
	if key, err = body.name("routing_key"); err != nil {
		return "", nil, err
	}
	table, err = body.table("arguments")
	return key, table, err
}

func (r *request) deleteBinding() (response, error) {
	b, err := r.theBinding()
	if err != nil {
		return response{}, err
	}
	err = r.withSession(r.vhost(), func(ctx context.Context, s *session) error {
		_, err := s.do(ctx, func(ref fsm.Ref) fsm.Command {
			return &fsm.Unbind{Ref: ref, Source: b.Source, Destination: b.Destination, ToExchange: b.ToExchange, Key: b.Key, Arguments: b.Arguments}
		})
		return err
	})
	if err != nil {
		return response{}, err
	}
	return noContent()
}
