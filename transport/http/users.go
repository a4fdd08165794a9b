package http

import (
	"context"
	"encoding/base64"
	"slices"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/fsm"
)

func userObject(u *fsm.UserView) object {
	return object{
		{"name", u.Name},
		{"password_hash", u.Hash},
		{"hashing_algorithm", u.Algorithm},
		{"tags", orEmpty(u.Tags)},
		{"limits", limitsObject(limit{"max-connections", u.MaxConnections}, limit{"max-channels", u.MaxChannels})},
	}
}

// orEmpty is what JSON writes as [] rather than null.
func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (r *request) listUsers() (response, error) {
	users := r.server.broker.Users()
	items := make([]object, len(users))
	for i := range users {
		items[i] = userObject(&users[i])
	}
	return r.list(items)
}

// listUsersWithoutPermissions lists those who may enter no virtual host.
func (r *request) listUsersWithoutPermissions() (response, error) {
	may := map[string]bool{}
	for _, p := range r.server.broker.Permissions() {
		may[p.User] = true
	}
	var items []object
	for _, u := range r.server.broker.Users() {
		if !may[u.Name] {
			items = append(items, userObject(&u))
		}
	}
	return r.list(items)
}

func (r *request) theUser() (fsm.UserView, error) {
	u, found := r.server.broker.User(r.args["user"])
	if !found {
		return u, notFound()
	}
	return u, nil
}

func (r *request) getUser() (response, error) {
	u, err := r.theUser()
	if err != nil {
		return response{}, err
	}
	return r.one(userObject(&u))
}

func (r *request) putUser() (response, error) {
	body, err := r.body()
	if err != nil {
		return response{}, err
	}
	if body["tags"] == nil {
		return response{}, badRequest("tags_not_present")
	}
	_, missing := r.theUser()
	if err := r.saveUser(r.args["user"], body); err != nil {
		return response{}, err
	}
	return put(missing == nil)
}

// saveUser creates or replaces a user as definitions have him. Without a password nobody can log in with one.
func (r *request) saveUser(name string, body fields) error {
	tags, _, err := body.tags("tags")
	if err != nil {
		return err
	}
	password, err := passwordOf(body)
	if err != nil {
		return err
	}
	ctx, cancel := r.bounded()
	defer cancel()
	return r.server.broker.PutUser(ctx, broker.UserSpec{Name: name, Password: password, Tags: tags})
}

func passwordOf(body fields) (broker.PasswordHash, error) {
	plain, err := body.text("password")
	if err != nil {
		return broker.PasswordHash{}, err
	}
	if plain != "" {
		return broker.HashPassword(plain)
	}
	h := broker.PasswordHash{}
	if h.Hash, err = body.text("password_hash"); err != nil {
		return h, err
	}
	if h.Algorithm, err = body.text("hashing_algorithm"); err != nil {
		return h, err
	}
	if h.Algorithm == "" {
		h.Algorithm = broker.HashingSHA256 // RabbitMQ's, whose definitions of old do not say
	}
	if _, err := base64.StdEncoding.DecodeString(h.Hash); err != nil {
		return h, badRequest([]any{"not_base64", h.Hash})
	}
	if err := h.Validate(); err != nil {
		return h, badRequest(err.Error())
	}
	return h, nil
}

func (r *request) deleteUser() (response, error) {
	u, err := r.theUser()
	if err != nil {
		return response{}, err
	}
	return r.changed(func(ctx context.Context) error { return r.server.broker.DeleteUser(ctx, u.Name) })
}

// deleteUsers deletes those of a list that are there.
func (r *request) deleteUsers() (response, error) {
	body, err := r.body()
	if err != nil {
		return response{}, err
	}
	names, given, err := body.tags("users")
	if err != nil {
		return response{}, err
	}
	if !given {
		return response{}, badRequest("[{key_missing,users}]")
	}
	ctx, cancel := r.bounded()
	defer cancel()
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if _, there := r.server.broker.User(name); !there {
			continue
		}
		if err := r.server.broker.DeleteUser(ctx, name); err != nil {
			return response{}, err
		}
	}
	return noContent()
}
