package http

import (
	"context"
	"errors"
	"slices"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/fsm"
)

func permissionObject(p *fsm.PermissionView) object {
	return object{{"user", p.User}, {"vhost", p.VHost}, {"configure", p.Configure}, {"write", p.Write}, {"read", p.Read}}
}

func topicPermissionObject(p *fsm.TopicPermissionView) object {
	return object{{"user", p.User}, {"vhost", p.VHost}, {"exchange", p.Exchange}, {"write", p.Write}, {"read", p.Read}}
}

// permissions are those of the user and the virtual host in the path, as far as it names them.
func (r *request) permissions() []fsm.PermissionView {
	return slices.DeleteFunc(r.server.broker.Permissions(), func(p fsm.PermissionView) bool { return !r.concerns(p.VHost, p.User) })
}

func (r *request) topicPermissions() []fsm.TopicPermissionView {
	return slices.DeleteFunc(r.server.broker.TopicPermissions(), func(p fsm.TopicPermissionView) bool { return !r.concerns(p.VHost, p.User) })
}

func (r *request) concerns(vhost, user string) bool {
	wantVHost, hasVHost := r.args["vhost"]
	wantUser, hasUser := r.args["user"]
	return (!hasVHost || vhost == wantVHost) && (!hasUser || user == wantUser)
}

func (r *request) listPermissions() (response, error) {
	var items []object
	for _, p := range r.permissions() {
		items = append(items, permissionObject(&p))
	}
	return r.list(items)
}

func (r *request) listTopicPermissions() (response, error) {
	var items []object
	for _, p := range r.topicPermissions() {
		items = append(items, topicPermissionObject(&p))
	}
	return r.list(items)
}

func (r *request) listUserPermissions() (response, error) {
	if _, err := r.theUser(); err != nil {
		return response{}, err
	}
	return r.listPermissions()
}

func (r *request) listUserTopicPermissions() (response, error) {
	if _, err := r.theUser(); err != nil {
		return response{}, err
	}
	return r.listTopicPermissions()
}

func (r *request) getPermission() (response, error) {
	found := r.permissions()
	if len(found) == 0 {
		return response{}, notFound()
	}
	return r.one(permissionObject(&found[0]))
}

func (r *request) putPermission() (response, error) {
	body, err := r.body()
	if err != nil {
		return response{}, err
	}
	existed := len(r.permissions()) > 0
	if err := r.savePermission(r.vhost(), r.args["user"], body); err != nil {
		return response{}, err
	}
	return put(existed)
}

func (r *request) savePermission(vhost, user string, body fields) error {
	if err := body.needs("configure", "write", "read"); err != nil {
		return err
	}
	p := fsm.PermissionView{VHost: vhost, User: user}
	var errs [3]error
	p.Configure, errs[0] = body.text("configure")
	p.Write, errs[1] = body.text("write")
	p.Read, errs[2] = body.text("read")
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	ctx, cancel := r.bounded()
	defer cancel()
	return vhostOrUser(r.server.broker.PutPermission(ctx, p))
}

// vhostOrUser is RabbitMQ's answer where one of the two is not there.
func vhostOrUser(err error) error {
	var refusal *broker.Refusal
	if errors.As(err, &refusal) && refusal.Code == fsm.NotFound {
		return badRequest("vhost_or_user_not_found")
	}
	return err
}

func (r *request) deletePermission() (response, error) {
	if len(r.permissions()) == 0 {
		return response{}, notFound()
	}
	return r.changed(func(ctx context.Context) error {
		return r.server.broker.DeletePermission(ctx, r.vhost(), r.args["user"])
	})
}

func (r *request) getTopicPermissions() (response, error) {
	if len(r.topicPermissions()) == 0 {
		return response{}, notFound()
	}
	return r.listTopicPermissions()
}

func (r *request) putTopicPermission() (response, error) {
	body, err := r.body()
	if err != nil {
		return response{}, err
	}
	exchange, err := body.name("exchange")
	if err != nil {
		return response{}, err
	}
	existed := slices.ContainsFunc(r.topicPermissions(), func(p fsm.TopicPermissionView) bool { return p.Exchange == exchange })
	if err := r.saveTopicPermission(r.vhost(), r.args["user"], body); err != nil {
		return response{}, err
	}
	return put(existed)
}

func (r *request) saveTopicPermission(vhost, user string, body fields) error {
	if err := body.needs("exchange", "write", "read"); err != nil {
		return err
	}
	p := fsm.TopicPermissionView{VHost: vhost, User: user}
	var errs [3]error
	p.Exchange, errs[0] = body.name("exchange")
	p.Write, errs[1] = body.text("write")
	p.Read, errs[2] = body.text("read")
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	ctx, cancel := r.bounded()
	defer cancel()
	return vhostOrUser(r.server.broker.PutTopicPermission(ctx, p))
}

func (r *request) deleteTopicPermissions() (response, error) {
	if len(r.topicPermissions()) == 0 {
		return response{}, notFound()
	}
	return r.changed(func(ctx context.Context) error {
		return r.server.broker.DeleteTopicPermissions(ctx, r.vhost(), r.args["user"])
	})
}

func (r *request) deleteTopicPermission() (response, error) {
	return r.changed(func(ctx context.Context) error {
		return r.server.broker.DeleteTopicPermission(ctx, r.vhost(), r.args["user"], r.args["exchange"])
	})
}
