package http

import (
	"context"
	"fmt"
	nethttp "net/http"
	"slices"
	"strconv"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/fsm"
)

// Health checks answer 200 {"status":"ok"} or 503 {"status":"failed","reason":…}.

func healthy(more ...field) (response, error) {
	return ok(append(object{{"status", "ok"}}, more...))
}

func unhealthy(reason string, more ...field) (response, error) {
	o := append(object{{"status", "failed"}, {"reason", reason}}, more...)
	return response{status: nethttp.StatusServiceUnavailable, body: o}, nil
}

func (r *request) checkAlarms() (response, error) {
	return alarmsOf(r.server.nodeDetails(r.ctx()), "There are alarms in effect in the cluster")
}

func (r *request) checkLocalAlarms() (response, error) {
	return alarmsOf([]broker.NodeDetails{r.server.broker.OwnDetails()}, "There are alarms in effect on the node")
}

func alarmsOf(nodes []broker.NodeDetails, reason string) (response, error) {
	var alarms []object
	for _, n := range nodes {
		if n.MemAlarm {
			alarms = append(alarms, object{{"node", n.Name}, {"resource", "memory"}})
		}
		if n.DiskAlarm {
			alarms = append(alarms, object{{"node", n.Name}, {"resource", "disk"}})
		}
	}
	if len(alarms) > 0 {
		return unhealthy(reason, field{"alarms", alarms})
	}
	return healthy()
}

// checkQuorumCritical tells whether the cluster would lose its majority with this node.
func (r *request) checkQuorumCritical() (response, error) {
	voters, running := 0, 0
	own := r.server.broker.OwnDetails()
	for _, n := range r.server.nodeDetails(r.ctx()) {
		if n.Voter {
			voters++
			if n.Running {
				running++
			}
		}
	}
	if voters <= 1 {
		return healthy(field{"reason", "single node cluster"})
	}
	if own.Voter && running-1 <= voters/2 {
		return unhealthy(fmt.Sprintf("%d of %d nodes run: without this one there is no majority", running, voters), field{"queues", []object{}})
	}
	return healthy()
}

func (r *request) checkReady() (response, error) {
	if err := r.server.broker.Ready(); err != nil {
		return unhealthy(err.Error())
	}
	return healthy()
}

func (r *request) checkPort() (response, error) {
	port, err := strconv.Atoi(r.args["port"])
	if err != nil {
		return response{}, badRequest("Invalid port")
	}
	own := r.server.broker.OwnDetails()
	ports := []int{}
	for _, l := range listenersOf(&own) {
		ports = append(ports, l.port)
	}
	if !slices.Contains(ports, port) {
		return unhealthy("No active listener", field{"missing", port}, field{"ports", ports})
	}
	return healthy(field{"port", port})
}

// protocolAliases are other words for a listener's protocol.
var protocolAliases = map[string]string{
	"amqp091": "amqp", "amqp0.9.1": "amqp", "amqp0-9-1": "amqp", "amqps": "amqp/ssl", "amqp/tls": "amqp/ssl", "management": "http",
}

func (r *request) checkProtocol() (response, error) {
	protocol := r.args["protocol"]
	own := r.server.broker.OwnDetails()
	protocols := []string{}
	for _, l := range listenersOf(&own) {
		protocols = append(protocols, l.protocol)
	}
	if !slices.Contains(protocols, protocol) && !slices.Contains(protocols, protocolAliases[protocol]) {
		return unhealthy("No active listener", field{"missing", protocol}, field{"protocols", protocols})
	}
	return healthy(field{"protocol", protocol})
}

func (r *request) checkVHosts() (response, error) { return healthy() }

// checkCertificates: certificates are read at start, and the door does not know them.
func (r *request) checkCertificates() (response, error) { return healthy() }

// alivenessQueue is RabbitMQ's name.
const alivenessQueue = "aliveness-test"

// aliveness declares a queue, publishes a message to it and gets it again.
func (r *request) aliveness() (response, error) {
	err := r.withSession(r.vhost(), func(ctx context.Context, s *session) error {
		_, err := s.do(ctx, func(ref fsm.Ref) fsm.Command {
			return &fsm.DeclareQueue{Ref: ref, Name: alivenessQueue, Durable: false}
		})
		if err != nil {
			return err
		}
		_, err = s.do(ctx, func(ref fsm.Ref) fsm.Command {
			return &fsm.Publish{Ref: ref, RoutingKey: []byte(alivenessQueue), Confirm: 1, Properties: []byte{0, 0}, Body: []byte("test_message")}
		})
		if err != nil {
			return err
		}
		_, err = s.do(ctx, func(ref fsm.Ref) fsm.Command { return &fsm.Get{Ref: ref, Queue: alivenessQueue, NoAck: true} })
		return err
	})
	if err != nil {
		return response{}, err
	}
	return healthy()
}
