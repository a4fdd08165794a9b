package http

import (
	"context"
	"slices"

	"github.com/triagemq/triagemq/fsm"
)

// limit is one of a virtual host or a user.
type limit struct {
	name string
	n    int64 // fsm.NoLimit: none
}

// Names of limits. Each kind of object has two of them.
var (
	vhostLimitNames = [2]string{"max-connections", "max-queues"}
	userLimitNames  = [2]string{"max-connections", "max-channels"}
)

func limitsObject(limits ...limit) object {
	o := object{}
	for _, l := range limits {
		if l.n >= 0 {
			o = append(o, field{l.name, l.n})
		}
	}
	return o
}

func vhostLimits(v *fsm.VHostView) object {
	return limitsObject(limit{vhostLimitNames[0], v.MaxConnections}, limit{vhostLimitNames[1], v.MaxQueues})
}

func userLimits(u *fsm.UserView) object {
	return limitsObject(limit{userLimitNames[0], u.MaxConnections}, limit{userLimitNames[1], u.MaxChannels})
}

func (r *request) listVHostLimits() (response, error) {
	visible := r.visible()
	var items []object
	for _, v := range r.server.broker.VHosts() {
		wanted, one := r.args["vhost"]
		if limits := vhostLimits(&v); len(limits) > 0 && slices.Contains(visible, v.Name) && (!one || v.Name == wanted) {
			items = append(items, object{{"vhost", v.Name}, {"value", limits}})
		}
	}
	return r.list(items)
}

func (r *request) listUserLimits() (response, error) {
	var items []object
	for _, u := range r.server.broker.Users() {
		wanted, one := r.args["user"]
		if limits := userLimits(&u); len(limits) > 0 && (!one || u.Name == wanted) {
			items = append(items, object{{"user", u.Name}, {"value", limits}})
		}
	}
	return r.list(items)
}

// limitIn reads the limit that the path names from the body.
func (r *request) limitIn(names [2]string) (int64, error) {
	if !slices.Contains(names[:], r.args["limit"]) {
		return 0, badRequest("Validation failed\n\nUnrecognised terms " + r.args["limit"] + " in limits\n")
	}
	body, err := r.body()
	if err != nil {
		return 0, err
	}
	if err := body.needs("value"); err != nil {
		return 0, err
	}
	return body.integer("value", fsm.NoLimit)
}

// replaced is both limits with one of them set.
func (r *request) replaced(names [2]string, both [2]int64, n int64) [2]int64 {
	for i, name := range names {
		if name == r.args["limit"] {
			both[i] = n
		}
	}
	return both
}

func (r *request) putVHostLimit() (response, error) {
	n, err := r.limitIn(vhostLimitNames)
	if err != nil {
		return response{}, err
	}
	return r.setVHostLimit(n)
}

func (r *request) deleteVHostLimit() (response, error) { return r.setVHostLimit(fsm.NoLimit) }

func (r *request) setVHostLimit(n int64) (response, error) {
	v, err := r.theVHost()
	if err != nil {
		return response{}, err
	}
	both := r.replaced(vhostLimitNames, [2]int64{v.MaxConnections, v.MaxQueues}, n)
	return r.changed(func(ctx context.Context) error { return r.server.broker.PutVHostLimits(ctx, v.Name, both[0], both[1]) })
}

func (r *request) putUserLimit() (response, error) {
	n, err := r.limitIn(userLimitNames)
	if err != nil {
		return response{}, err
	}
	return r.setUserLimit(n)
}

func (r *request) deleteUserLimit() (response, error) { return r.setUserLimit(fsm.NoLimit) }

func (r *request) setUserLimit(n int64) (response, error) {
	u, err := r.theUser()
	if err != nil {
		return response{}, err
	}
	both := r.replaced(userLimitNames, [2]int64{u.MaxConnections, u.MaxChannels}, n)
	return r.changed(func(ctx context.Context) error { return r.server.broker.PutUserLimits(ctx, u.Name, both[0], both[1]) })
}

// changed carries out a change within the bound and answers 204.
func (r *request) changed(change func(ctx context.Context) error) (response, error) {
	ctx, cancel := r.bounded()
	defer cancel()
	if err := change(ctx); err != nil {
		return response{}, err
	}
	return noContent()
}
