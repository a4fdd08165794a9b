package http

import (
	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/fsm"
)

// Versions as clients of RabbitMQ look at them: they decide by rabbitmq_version what the broker can do.
const (
	rabbitVersion = "4.3.0"
	productName   = "TriageMQ"
	erlangVersion = "27.0" // no Erlang here; clients parse it
)

func (r *request) overview() (response, error) {
	own := r.server.broker.OwnDetails()
	var counts fsm.Counts
	var totals fsm.Counters
	r.view(func(s *fsm.State) {
		counts = s.Counts()
		for _, name := range s.VHostNames() {
			x, _ := s.Exchange(name, "")
			for i, n := range x.Meter.Counts {
				totals[i] += n
			}
		}
	})
	rates := r.server.broker.Rates().Total
	o := r.product()
	o = append(o, object{
		{"management_version", rabbitVersion},
		{"rates_mode", "basic"},
		{"sample_retention_policies", object{{"global", []int{5}}, {"basic", []int{5}}, {"detailed", []int{5}}}},
		{"exchange_types", exchangeTypes()},
		{"cluster_name", r.clusterName()},
		{"cluster_tags", object{}},
		{"node_tags", object{}},
		{"erlang_version", erlangVersion},
		{"erlang_full_version", "none: " + productName + " is written in Go"},
		{"release_series_support_status", "supported"},
		{"disable_stats", false},
		{"is_op_policy_updating_enabled", true},
		{"enable_queue_totals", false},
		{"message_stats", messageStats(vhostCounters, &totals, &rates)},
		{"churn_rates", r.totalChurn()},
		{"queue_totals", messageCounts(counts.Ready, counts.Held, &rates)},
		{"object_totals", object{
			{"channels", counts.Channels}, {"connections", counts.Sessions}, {"consumers", counts.Consumers},
			{"exchanges", counts.Exchanges}, {"queues", counts.Queues},
		}},
		{"statistics_db_event_queue", 0},
		{"statistics_level", "fine"},
		{"node", own.Name},
		{"listeners", r.listeners()},
		{"contexts", r.contexts(&own)},
	}...)
	return r.one(o)
}

func (r *request) product() object {
	return object{{"product_name", productName}, {"product_version", r.server.broker.OwnDetails().Version}, {"rabbitmq_version", rabbitVersion}}
}

func (r *request) listeners() []object {
	list := []object{}
	for _, n := range r.server.nodeDetails(r.ctx()) {
		for _, l := range listenersOf(&n) {
			list = append(list, l.object())
		}
	}
	return list
}

func (r *request) totalChurn() object {
	var total fsm.Churn
	var rates broker.ChurnRates
	table := r.server.broker.Rates()
	r.view(func(s *fsm.State) {
		for _, o := range s.Churn() {
			total.ConnectionsCreated += o.ConnectionsCreated
			total.ConnectionsClosed += o.ConnectionsClosed
			total.ChannelsCreated += o.ChannelsCreated
			total.ChannelsClosed += o.ChannelsClosed
			total.QueuesDeclared += o.QueuesDeclared
			total.QueuesCreated += o.QueuesCreated
			total.QueuesDeleted += o.QueuesDeleted
			rate := table.Churn(o.Node)
			rates.ConnectionsCreated += rate.ConnectionsCreated
			rates.ConnectionsClosed += rate.ConnectionsClosed
			rates.ChannelsCreated += rate.ChannelsCreated
			rates.ChannelsClosed += rate.ChannelsClosed
			rates.QueuesDeclared += rate.QueuesDeclared
			rates.QueuesCreated += rate.QueuesCreated
			rates.QueuesDeleted += rate.QueuesDeleted
		}
	})
	return churnObject(total, rates)
}

// churn is what clients of one node began and ended.
func (r *request) churn(node string) object {
	var churn fsm.Churn
	r.view(func(s *fsm.State) {
		for _, o := range s.Churn() {
			if o.Node == node {
				churn = o.Churn
			}
		}
	})
	return churnObject(churn, r.server.broker.Rates().Churn(node))
}

func churnObject(n fsm.Churn, rates broker.ChurnRates) object {
	var o object
	for _, c := range []struct {
		name      string
		n         uint64
		perSecond float64
	}{
		{"connection_created", n.ConnectionsCreated, rates.ConnectionsCreated}, {"connection_closed", n.ConnectionsClosed, rates.ConnectionsClosed},
		{"channel_created", n.ChannelsCreated, rates.ChannelsCreated}, {"channel_closed", n.ChannelsClosed, rates.ChannelsClosed},
		{"queue_declared", n.QueuesDeclared, rates.QueuesDeclared}, {"queue_created", n.QueuesCreated, rates.QueuesCreated},
		{"queue_deleted", n.QueuesDeleted, rates.QueuesDeleted},
	} {
		o = append(o, withRate(c.name, c.n, c.perSecond)...)
	}
	return o
}

func (r *request) whoami() (response, error) {
	tags := r.who.Tags
	if tags == nil {
		tags = []string{}
	}
	return ok(object{{"name", r.who.User}, {"tags", tags}, {"is_internal_user", true}})
}
