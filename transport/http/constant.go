package http

// What RabbitMQ has and is either constant here or not there.

func (r *request) extensions() (response, error) { return ok([]object{}) }

// auth says that there is no single sign-on: clients log in with basic authentication.
func (r *request) auth() (response, error) {
	return ok(object{{"oauth_enabled", false}, {"enable_uaa", false}, {"uaa_client_id", ""}, {"uaa_location", ""}})
}

func (r *request) version() (response, error) {
	return ok(rabbitVersion)
}

// featureFlags are those of RabbitMQ that clients look for. Its own feature level is in /api/cluster.
func (r *request) featureFlags() (response, error) {
	var items []object
	for _, f := range [...]struct{ name, description string }{
		{"classic_queue_type_delivery_support", "Bug fix for classic queue deliveries using mixed versions"},
		{"direct_exchange_routing_v2", "v2 direct exchange routing implementation"},
		{"implicit_default_bindings", "Default bindings are now implicit, instead of being stored in the database"},
		{"maintenance_mode_status", "Maintenance mode status"},
		{"quorum_queue", "Support queues of type `quorum`"},
		{"user_limits", "Configure connection and channel limits for a user"},
		{"virtual_host_metadata", "Virtual host metadata (description, tags, etc)"},
	} {
		items = append(items, object{
			{"name", f.name}, {"desc", f.description}, {"doc_url", ""}, {"state", "enabled"}, {"stability", "required"}, {"require_level", "hard"},
			{"provided_by", "triagemq"},
		})
	}
	return r.list(items)
}

// enableFeatureFlag: all are.
func (r *request) enableFeatureFlag() (response, error) { return noContent() }

// deprecatedFeatures are those of RabbitMQ's that are carried out here and stay.
func (r *request) deprecatedFeatures() (response, error) {
	return r.list([]object{{
		{"name", "transient_nonexcl_queues"}, {"desc", "Queues that are neither durable nor exclusive"}, {"deprecation_phase", "permitted_by_default"},
		{"doc_url", ""}, {"state", "permitted"}, {"provided_by", "triagemq"},
	}})
}

func (r *request) none() (response, error) { return r.list(nil) }

// rebalance is accepted: every node has every queue, and one leads them all.
func (r *request) rebalance() (response, error) { return noContent() }
