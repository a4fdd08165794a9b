package http

import (
	"context"
	"errors"
	"mime"
	nethttp "net/http"
	"time"

	"github.com/triagemq/triagemq/broker"
)

// changeBound limits how long a change of the cluster may take; a node that leaves has a bound of its own.
const changeBound = 30 * time.Second

// transferLeader hands leadership to the node "to", or to any other where that is missing.
func (r *request) transferLeader() (response, error) {
	b, err := r.clusterBody()
	if err != nil {
		return response{}, err
	}
	to, err := b.name("to")
	if err != nil {
		return response{}, err
	}
	return r.changeCluster(func(ctx context.Context) error { return r.server.broker.TransferLeadershipTo(ctx, to) })
}

// removeServer takes the node "node" out of the cluster; with "force" one that lives too, or without which no majority lives.
func (r *request) removeServer() (response, error) {
	b, err := r.clusterBody()
	if err == nil {
		err = b.needs("node")
	}
	if err != nil {
		return response{}, err
	}
	node, err := b.name("node")
	if err != nil {
		return response{}, err
	}
	if node == "" {
		return response{}, badRequest("node is empty")
	}
	force, err := b.bool("force", false)
	if err != nil {
		return response{}, err
	}
	return r.changeCluster(func(ctx context.Context) error { return r.server.broker.RemoveServer(ctx, node, force) })
}

// leave takes this node out of the cluster; its process ends after the answer.
func (r *request) leave() (response, error) {
	if _, err := r.clusterBody(); err != nil {
		return response{}, err
	}
	return r.changeCluster(r.server.broker.Leave)
}

// clusterBody is a body that says it is JSON. A page of another site can have a browser post a form or plain text here, with the login that the browser remembers;
// for this content type the browser asks first, and is not answered.
func (r *request) clusterBody() (fields, error) {
	kind, _, err := mime.ParseMediaType(r.http.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return nil, &failure{status: nethttp.StatusUnsupportedMediaType, name: "unsupported_media_type", reason: "want Content-Type: application/json"}
	}
	return r.body()
}

func (r *request) changeCluster(change func(ctx context.Context) error) (response, error) {
	ctx, cancel := context.WithTimeout(r.ctx(), changeBound)
	defer cancel()
	if err := change(ctx); err != nil {
		return response{}, clusterFailure(err)
	}
	return noContent()
}

// clusterRefusals are the reasons for which the membership stays as it is, as answers: all of them say that nothing was changed.
var clusterRefusals = []struct {
	err    error
	status int
	name   string
}{
	{broker.ErrNoSuchServer, nethttp.StatusNotFound, "no_such_node"},
	{broker.ErrAmbiguousName, nethttp.StatusConflict, "ambiguous_name"},
	{broker.ErrWouldLoseQuorum, nethttp.StatusConflict, "would_lose_quorum"},
	{broker.ErrLastVoter, nethttp.StatusConflict, "last_voter"},
	{broker.ErrServerAlive, nethttp.StatusConflict, "node_alive"},
	{broker.ErrServerNotVoter, nethttp.StatusConflict, "not_a_voter"},
	{broker.ErrNotNow, nethttp.StatusServiceUnavailable, "not_now"},
}

// clusterFailure tells a change that was refused from one whose outcome nobody knows.
func clusterFailure(err error) error {
	for _, r := range clusterRefusals {
		if errors.Is(err, r.err) {
			return &failure{status: r.status, name: r.name, reason: err.Error()}
		}
	}
	return &failure{status: nethttp.StatusGatewayTimeout, name: "outcome_unknown", reason: err.Error()}
}
