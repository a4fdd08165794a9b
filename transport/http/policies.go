package http

import (
	"context"

	"github.com/triagemq/triagemq/fsm"
)

// Policies and operator policies have the same routes under two names.

func policyObject(p *fsm.PolicyView) object {
	return object{
		{"vhost", p.VHost}, {"name", p.Name}, {"pattern", p.Pattern}, {"apply-to", p.ApplyTo}, {"definition", tableJSON(p.Definition)}, {"priority", p.Priority},
	}
}

func (r *request) listPolicies() (response, error)         { return r.listPoliciesOf(false) }
func (r *request) listOperatorPolicies() (response, error) { return r.listPoliciesOf(true) }

func (r *request) listPoliciesOf(operator bool) (response, error) {
	visible := map[string]bool{}
	for _, vhost := range r.visible() {
		visible[vhost] = true
	}
	var items []object
	for _, p := range r.server.broker.Policies(r.vhost(), operator) {
		if visible[p.VHost] {
			items = append(items, policyObject(&p))
		}
	}
	return r.list(items)
}

func (r *request) getPolicy() (response, error)         { return r.getPolicyOf(false) }
func (r *request) getOperatorPolicy() (response, error) { return r.getPolicyOf(true) }

func (r *request) getPolicyOf(operator bool) (response, error) {
	p, found := r.server.broker.Policy(r.vhost(), r.args["policy"], operator)
	if !found {
		return response{}, notFound()
	}
	return r.one(policyObject(&p))
}

func (r *request) putPolicy() (response, error)         { return r.putPolicyOf(false) }
func (r *request) putOperatorPolicy() (response, error) { return r.putPolicyOf(true) }

func (r *request) putPolicyOf(operator bool) (response, error) {
	body, err := r.body()
	if err != nil {
		return response{}, err
	}
	_, existed := r.server.broker.Policy(r.vhost(), r.args["policy"], operator)
	if err := r.savePolicy(r.vhost(), r.args["policy"], operator, body); err != nil {
		return response{}, err
	}
	return put(existed)
}

func (r *request) savePolicy(vhost, name string, operator bool, body fields) error {
	if err := body.needs("pattern", "definition"); err != nil {
		return err
	}
	p := fsm.PutPolicy{VHost: vhost, Name: name, Operator: operator}
	var err error
	if p.Pattern, err = body.text("pattern"); err != nil {
		return err
	}
	if p.ApplyTo, err = body.name("apply-to"); err != nil {
		return err
	}
	if p.Priority, err = body.integer("priority", 0); err != nil {
		return err
	}
	if p.Definition, err = body.table("definition"); err != nil {
		return err
	}
	if len(p.Pattern) > fsm.PatternBytesMax {
		return badRequest("the pattern is too long")
	}
	return r.operate([]string{vhost, name}, func(ref fsm.Ref) fsm.Command {
		p.Ref = ref
		return &p
	})
}

func (r *request) deletePolicy() (response, error)         { return r.deletePolicyOf(false) }
func (r *request) deleteOperatorPolicy() (response, error) { return r.deletePolicyOf(true) }

func (r *request) deletePolicyOf(operator bool) (response, error) {
	if _, there := r.server.broker.Policy(r.vhost(), r.args["policy"], operator); !there {
		return response{}, notFound()
	}
	err := r.operate(nil, func(ref fsm.Ref) fsm.Command {
		return &fsm.DeletePolicy{Ref: ref, VHost: r.vhost(), Name: r.args["policy"], Operator: operator}
	})
	if err != nil {
		return response{}, err
	}
	return noContent()
}

// operate carries an operator's command through the log. shorts are names from outside: longer ones cannot be encoded.
func (r *request) operate(shorts []string, build func(ref fsm.Ref) fsm.Command) error {
	for _, s := range shorts {
		if len(s) > fsm.ShortStringBytesMax {
			return badRequest("a name is longer than 255 bytes")
		}
	}
	ctx, cancel := r.bounded()
	defer cancel()
	_, err := r.server.broker.Operate(ctx, build)
	return err
}

// bounded limits how long a change may take, elections included.
func (r *request) bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.ctx(), outcomeBound)
}

func (in *importer) policy(item fields) error {
	vhost, err := in.vhostOf(item)
	if err != nil {
		return err
	}
	name, err := item.name("name")
	if err != nil {
		return err
	}
	return in.savePolicy(vhost, name, false, item)
}
