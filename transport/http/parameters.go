package http

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/triagemq/triagemq/fsm"
)

// Parameters of RabbitMQ's plugins come with definitions and are kept for whoever takes them back: no plugin runs here. Operator policies and the limits of virtual hosts are parameters
// in RabbitMQ; lists and definitions show them as such.
const (
	componentOperatorPolicy = "operator_policy"
	componentVHostLimits    = "vhost-limits"
	vhostLimitsName         = "limits"
)

func parameterObject(p *fsm.ParameterView) object {
	return object{{"value", json.RawMessage(p.Value)}, {"vhost", p.VHost}, {"component", p.Component}, {"name", p.Name}}
}

// exportParameters are what a virtual host ("" = the whole cluster) has of parameters and policies in definitions.
func (r *request) exportParameters(vhost string) object {
	parameters := r.parameterList(vhost, "")
	policies := []object{}
	for _, p := range r.server.broker.Policies(vhost, false) {
		policies = append(policies, policyObject(&p))
	}
	for _, p := range r.server.broker.Policies(vhost, true) {
		value := object{{"pattern", p.Pattern}, {"apply-to", p.ApplyTo}, {"definition", tableJSON(p.Definition)}, {"priority", p.Priority}}
		parameters = append(parameters, object{{"value", value}, {"vhost", p.VHost}, {"component", componentOperatorPolicy}, {"name", p.Name}})
	}
	o := object{{"parameters", parameters}}
	if vhost == "" {
		o = append(o, field{"global_parameters", r.globalParameterList()})
	}
	return append(o, field{"policies", policies})
}

// parameterList has the limits of virtual hosts among the parameters.
func (r *request) parameterList(vhost, component string) []object {
	items := []object{}
	for _, p := range r.server.broker.Parameters(vhost, component) {
		items = append(items, parameterObject(&p))
	}
	if component != "" && component != componentVHostLimits {
		return items
	}
	for _, v := range r.server.broker.VHosts() {
		if limits := vhostLimits(&v); len(limits) > 0 && (vhost == "" || v.Name == vhost) {
			items = append(items, object{{"value", limits}, {"vhost", v.Name}, {"component", componentVHostLimits}, {"name", vhostLimitsName}})
		}
	}
	return items
}

func (r *request) listParameters() (response, error) {
	visible := r.visible()
	items := slices.DeleteFunc(r.parameterList(r.vhost(), r.args["component"]), func(o object) bool {
		vhost, _ := o.get("vhost")
		return !slices.Contains(visible, vhost.(string))
	})
	return r.list(items)
}

func (r *request) getParameter() (response, error) {
	p, found := r.server.broker.Parameter(r.vhost(), r.args["component"], r.args["name"])
	if !found {
		return response{}, notFound()
	}
	return r.one(parameterObject(&p))
}

// putParameter sets what has a component here. A shovel or a federation upstream would be kept and never run, so it is refused, in RabbitMQ's words where
// the plugin is not enabled.
func (r *request) putParameter() (response, error) {
	body, err := r.body()
	if err != nil {
		return response{}, err
	}
	component := r.args["component"]
	if component != componentOperatorPolicy && component != componentVHostLimits {
		return response{}, badRequest("Validation failed\n\ncomponent " + component + " not found\n")
	}
	if err := forAdministrators(r); err != nil {
		return response{}, err
	}
	body["component"], body["name"] = component, r.args["name"]
	in := importer{request: r, vhost: r.vhost()}
	if err := in.parameter(body); err != nil {
		return response{}, err
	}
	return noContent()
}

func (r *request) putGlobalParameter() (response, error) {
	body, err := r.body()
	if err != nil {
		return response{}, err
	}
	_, existed := r.server.broker.Parameter("", "", r.args["name"])
	if err := r.saveParameter("", "", r.args["name"], body); err != nil {
		return response{}, err
	}
	return put(existed)
}

// saveParameter keeps a value; vhost and component are "" for a global parameter.
func (r *request) saveParameter(vhost, component, name string, body fields) error {
	if err := body.needs("value"); err != nil {
		return err
	}
	value, err := json.Marshal(body["value"])
	if err != nil {
		return badRequest("not_json")
	}
	if len(value) > fsm.ParameterBytesMax {
		return badRequest("the value is too long")
	}
	return r.operate([]string{vhost, component, name}, func(ref fsm.Ref) fsm.Command {
		return &fsm.PutParameter{Ref: ref, VHost: vhost, Component: component, Name: name, Value: value}
	})
}

func (r *request) deleteParameter() (response, error) {
	if _, there := r.server.broker.Parameter(r.vhost(), r.args["component"], r.args["name"]); !there {
		return response{}, notFound()
	}
	err := r.operate(nil, func(ref fsm.Ref) fsm.Command {
		return &fsm.DeleteParameter{Ref: ref, VHost: r.vhost(), Component: r.args["component"], Name: r.args["name"]}
	})
	if err != nil {
		return response{}, err
	}
	return noContent()
}

// clusterTags is a global parameter that RabbitMQ always has.
const clusterTags = "cluster_tags"

// A global parameter has neither virtual host nor component: both are "".

func (r *request) globalParameterList() []object {
	items := []object{}
	tagged := false
	for _, p := range r.server.broker.GlobalParameters() {
		tagged = tagged || p.Name == clusterTags
		items = append(items, globalParameterObject(&p))
	}
	if !tagged {
		items = append(items, object{{"name", clusterTags}, {"value", object{}}})
	}
	return items
}

func globalParameterObject(p *fsm.ParameterView) object {
	return object{{"name", p.Name}, {"value", json.RawMessage(p.Value)}}
}

func (r *request) listGlobalParameters() (response, error) { return r.list(r.globalParameterList()) }

func (r *request) getGlobalParameter() (response, error) {
	p, found := r.server.broker.Parameter("", "", r.args["name"])
	if !found {
		return response{}, notFound()
	}
	return r.one(globalParameterObject(&p))
}

// clusterNameParameter is the global parameter that names the cluster.
const clusterNameParameter = "cluster_name"

// clusterNameDefault is the cluster's name until somebody gives it one.
const clusterNameDefault = "triagemq"

func (r *request) clusterName() string {
	name := clusterNameDefault
	if p, given := r.server.broker.Parameter("", "", clusterNameParameter); given {
		_ = json.Unmarshal(p.Value, &name) // a value that is no text leaves the default
	}
	return name
}

func (r *request) getClusterName() (response, error) { return ok(object{{"name", r.clusterName()}}) }

func (r *request) putClusterName() (response, error) {
	body, err := r.body()
	if err != nil {
		return response{}, err
	}
	if err := body.needs("name"); err != nil {
		return response{}, err
	}
	name, err := body.name("name")
	if err != nil {
		return response{}, err
	}
	if err := r.saveParameter("", "", clusterNameParameter, fields{"value": name}); err != nil {
		return response{}, err
	}
	return noContent()
}

func (in *importer) parameter(item fields) error {
	vhost, err := in.vhostOf(item)
	if err != nil {
		return err
	}
	component, err := item.name("component")
	if err != nil {
		return err
	}
	name, err := item.name("name")
	if err != nil {
		return err
	}
	switch component {
	case componentOperatorPolicy:
		value, err := item.object("value")
		if err != nil {
			return err
		}
		return in.savePolicy(vhost, name, true, value)
	case componentVHostLimits:
		value, err := item.object("value")
		if err != nil {
			return err
		}
		both, err := bothLimits(value, vhostLimitNames)
		if err != nil {
			return err
		}
		_, err = in.changed(func(ctx context.Context) error { return in.server.broker.PutVHostLimits(ctx, vhost, both[0], both[1]) })
		return err
	}
	return in.saveParameter(vhost, component, name, item)
}

func (in *importer) globalParameter(item fields) error {
	name, err := item.name("name")
	if err != nil {
		return err
	}
	return in.saveParameter("", "", name, item)
}
