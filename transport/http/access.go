package http

import (
	"slices"

	"github.com/triagemq/triagemq/fsm"
)

// Tags that let a user in, and what each adds (RabbitMQ's meanings).
const (
	tagManagement    = "management"    // what he could do over AMQP, and his own connections
	tagPolicymaker   = "policymaker"   // policies and parameters of his virtual hosts
	tagMonitoring    = "monitoring"    // everybody's connections, nodes
	tagAdministrator = "administrator" // everything
)

// access decides whether a user may call a route.
type access func(r *request) error

func (r *request) has(tags ...string) bool {
	return slices.ContainsFunc(r.who.Tags, func(tag string) bool { return slices.Contains(tags, tag) })
}

func (r *request) isAdministrator() bool { return r.has(tagAdministrator) }

func (r *request) isMonitor() bool { return r.has(tagAdministrator, tagMonitoring) }

func forUsers(r *request) error {
	if r.has(tagManagement, tagPolicymaker, tagMonitoring, tagAdministrator) {
		return nil
	}
	return notAuthorised("Not management user")
}

func forMonitors(r *request) error {
	if r.isMonitor() {
		return nil
	}
	return notAuthorised("Not monitor user")
}

func forAdministrators(r *request) error {
	if r.isAdministrator() {
		return nil
	}
	return notAuthorised("Not administrator user")
}

func forPolicymakers(r *request) error {
	if !r.has(tagPolicymaker, tagAdministrator) {
		return notAuthorised("Not policymaker user")
	}
	if _, scoped := r.args["vhost"]; scoped {
		return inVHost(r)
	}
	return nil
}

// vhostForAdministrators also wants the virtual host to be there.
func vhostForAdministrators(r *request) error {
	if err := forAdministrators(r); err != nil {
		return err
	}
	if !r.vhostExists(r.vhost()) {
		return notFound()
	}
	return nil
}

// forSelf lets users ask about themselves, and administrators about everybody.
func forSelf(r *request) error {
	if r.args["user"] == r.who.User {
		return forUsers(r)
	}
	return forAdministrators(r)
}

// forSelfOrMonitors lets users see what is theirs, and monitors everything.
func forSelfOrMonitors(r *request) error {
	if r.args["user"] == r.who.User {
		return forUsers(r)
	}
	return forMonitors(r)
}

// seesVHost lets users look at virtual hosts that they have access to, and administrators and monitors at all of them.
func seesVHost(r *request) error {
	if err := forUsers(r); err != nil {
		return err
	}
	if !r.vhostExists(r.vhost()) {
		return notFound()
	}
	if r.isMonitor() || r.mayEnter(r.vhost()) {
		return nil
	}
	return notAuthorised("User not authorised to access virtual host")
}

// inVHost lets users do things in virtual hosts that they have access to; not even administrators may do them elsewhere.
func inVHost(r *request) error {
	if err := forUsers(r); err != nil {
		return err
	}
	if !r.vhostExists(r.vhost()) {
		return notFound()
	}
	if !r.mayEnter(r.vhost()) {
		return notAuthorised("User not authorised to access virtual host")
	}
	return nil
}

func (r *request) vhostExists(name string) (exists bool) {
	_, exists = r.server.broker.VHost(name)
	return exists
}

// visible lists the virtual hosts whose contents the user sees.
func (r *request) visible() []string {
	var names []string
	r.view(func(s *fsm.State) { names = s.VHostNames() })
	if r.isMonitor() {
		return names
	}
	return slices.DeleteFunc(names, func(name string) bool { return !r.mayEnter(name) })
}

// mayEnter tells whether the user has permissions in a virtual host.
func (r *request) mayEnter(vhost string) bool {
	if r.entered == nil {
		r.entered = map[string]bool{}
		for _, p := range r.server.broker.Permissions() {
			if p.User == r.who.User {
				r.entered[p.VHost] = true
			}
		}
	}
	return r.entered[vhost]
}
