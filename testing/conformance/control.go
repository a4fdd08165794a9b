package conformance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/triagemq/triagemq/testing/harness"
)

// faultBound is how long a fault may take until the cluster is whole again, or without its node but with a leader.
const faultBound = 30 * time.Second

// control lets programs in other languages ask for faults, over HTTP.
type control struct {
	world    *World
	server   *http.Server
	listener net.Listener
	done     chan struct{}
}

func newControl(w *World) (*control, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &control{world: w, listener: l, done: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /leader", c.handle(c.leader))
	mux.HandleFunc("POST /lose-leader", c.handle(c.loseLeader))
	mux.HandleFunc("POST /kill", c.handle(c.kill))
	mux.HandleFunc("POST /start", c.handle(c.start))
	c.server = &http.Server{Handler: mux, ReadTimeout: faultBound}
	go func() {
		defer close(c.done)
		c.server.Serve(l)
	}()
	return c, nil
}

func (c *control) addr() string { return c.listener.Addr().String() }

func (c *control) close() {
	c.server.Close()
	<-c.done
}

func (c *control) handle(f func(context.Context, *http.Request) (string, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), faultBound)
		defer cancel()
		answer, err := f(ctx, r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, answer)
	}
}

func (c *control) leader(ctx context.Context, _ *http.Request) (string, error) {
	n, err := c.world.Cluster.AwaitLeader(ctx)
	if err != nil {
		return "", err
	}
	return n.Name, nil
}

func (c *control) loseLeader(ctx context.Context, _ *http.Request) (string, error) {
	return "done", c.world.LoseLeader(ctx)
}

// kill ends a node's process at once and returns when the others have a leader.
func (c *control) kill(ctx context.Context, r *http.Request) (string, error) {
	n, err := c.node(r)
	if err != nil {
		return "", err
	}
	n.Kill()
	_, err = c.world.Cluster.AwaitLeader(ctx, n)
	return "killed", err
}

func (c *control) start(ctx context.Context, r *http.Request) (string, error) {
	n, err := c.node(r)
	if err != nil {
		return "", err
	}
	return "started", errors.Join(n.Start(), c.world.Cluster.AwaitReady(ctx, n))
}

func (c *control) node(r *http.Request) (*harness.Node, error) {
	name := r.URL.Query().Get("node")
	if n := c.world.Cluster.Node(name); n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("no node %q", name)
}
