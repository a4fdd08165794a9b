package http

import (
	"context"
	"slices"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/fsm"
)

func (r *request) vhostObject(v *fsm.VHostView, where *replicas) object {
	counts := fsm.VHostCounts{}
	r.view(func(s *fsm.State) { counts, _ = s.VHostCounts(v.Name) })
	var serial uint64
	r.view(func(s *fsm.State) {
		x, _ := s.Exchange(v.Name, "")
		serial = x.Serial
	})
	rates := r.server.broker.Rates().Of(serial)
	state := object{}
	for _, name := range where.members {
		word := "stopped"
		if slices.Contains(where.online, name) {
			word = "running"
		}
		state = append(state, field{name, word})
	}
	kind := defaultQueueType(v)
	o := object{
		{"name", v.Name},
		{"description", v.Description},
		{"tags", orEmpty(v.Tags)},
		{"default_queue_type", kind},
		{"metadata", object{{"description", v.Description}, {"tags", orEmpty(v.Tags)}, {"default_queue_type", kind}}},
		{"tracing", false},
		{"protected_from_deletion", false},
		{"cluster_state", state},
		{"recv_oct", 0},
		{"send_oct", 0},
	}
	o = append(o, messageCounts(counts.Ready, counts.Held, &rates)...)
	return append(o, field{"message_stats", messageStats(vhostCounters, &counts.Meter.Counts, &rates)})
}

// defaultQueueType is classic where nothing was said: both types are the same replicated queue here.
func defaultQueueType(v *fsm.VHostView) string {
	if v.DefaultQueueType == "" {
		return "classic"
	}
	return v.DefaultQueueType
}

func (r *request) listVHosts() (response, error) {
	where, visible := r.replicas(), r.visible()
	var items []object
	for _, v := range r.server.broker.VHosts() {
		if slices.Contains(visible, v.Name) {
			items = append(items, r.vhostObject(&v, &where))
		}
	}
	return r.list(items)
}

func (r *request) theVHost() (fsm.VHostView, error) {
	v, found := r.server.broker.VHost(r.vhost())
	if !found {
		return v, notFound()
	}
	return v, nil
}

func (r *request) getVHost() (response, error) {
	v, err := r.theVHost()
	if err != nil {
		return response{}, err
	}
	where := r.replicas()
	return r.one(r.vhostObject(&v, &where))
}

func (r *request) putVHost() (response, error) {
	body, err := r.body()
	if err != nil {
		return response{}, err
	}
	_, missing := r.theVHost()
	if err := r.saveVHost(r.vhost(), body); err != nil {
		return response{}, err
	}
	return put(missing == nil)
}

// saveVHost creates or describes a virtual host as definitions have it; who creates one may do everything in it.
func (r *request) saveVHost(name string, body fields) error {
	if metadata, err := body.object("metadata"); err == nil && metadata != nil {
		for key, v := range metadata {
			if body[key] == nil {
				body[key] = v
			}
		}
	}
	v := broker.VHostSpec{Name: name, Creator: r.who.User}
	var err error
	if v.Description, err = body.text("description"); err != nil {
		return err
	}
	if v.Tags, _, err = body.tags("tags"); err != nil {
		return err
	}
	if v.DefaultQueueType, err = body.text("default_queue_type"); err != nil {
		return err
	}
	if v.DefaultQueueType == "undefined" {
		v.DefaultQueueType = ""
	}
	ctx, cancel := r.bounded()
	defer cancel()
	return r.server.broker.PutVHost(ctx, v)
}

func (r *request) deleteVHost() (response, error) {
	v, err := r.theVHost()
	if err != nil {
		return response{}, err
	}
	return r.changed(func(ctx context.Context) error { return r.server.broker.DeleteVHost(ctx, v.Name) })
}

// startVHost: virtual hosts always run, on every node.
func (r *request) startVHost() (response, error) { return noContent() }
