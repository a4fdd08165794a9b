// Package http is the broker's HTTP door: health probes and the cluster's state.
//
// It reads; it owns no state of the broker. One Server per node, opened before the AMQP door so that probes see a node that is still
// starting. Its goroutines are net/http's, bounded by time-outs; Close joins them. Start reading at New.
package http

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	nethttp "net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/triagemq/triagemq/broker"
)

// Broker is what the door needs of a node; *broker.Node has it.
type Broker interface {
	Ready() error
	Login(ctx context.Context, user, password, remoteAddr string) (broker.Identity, error)
	ClusterStatus(ctx context.Context) broker.ClusterStatus
}

// requestBound limits how long one request may take from its first byte to its answer.
const requestBound = 15 * time.Second

// Server answers HTTP requests for one node.
type Server struct {
	broker Broker
	log    hclog.Logger
	http   nethttp.Server
	done   sync.WaitGroup
}

// New returns a server that does nothing until Open.
func New(b Broker, log hclog.Logger) *Server {
	s := &Server{broker: b, log: log}
	mux := nethttp.NewServeMux()
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /api/cluster", s.authorised(s.cluster))
	s.http = nethttp.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       requestBound,
		WriteTimeout:      requestBound,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	return s
}

// Open binds addr and serves in the background.
func (s *Server) Open(addr string) (net.Addr, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	s.done.Go(func() {
		if err := s.http.Serve(l); !errors.Is(err, nethttp.ErrServerClosed) {
			s.log.Error("http server ended", "error", err)
		}
	})
	return l.Addr(), nil
}

// Close stops accepting, gives running requests until ctx ends, and waits.
func (s *Server) Close(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	s.done.Wait()
	return err
}

// healthz says that the process is alive; it needs nothing of the cluster.
func (s *Server) healthz(w nethttp.ResponseWriter, _ *nethttp.Request) {
	writeJSON(w, nethttp.StatusOK, map[string]string{"status": "ok"})
}

// readyz is 200 while the node would serve a client: AMQP open, a leader known, everything committed applied. 503 with the reason otherwise.
func (s *Server) readyz(w nethttp.ResponseWriter, _ *nethttp.Request) {
	if err := s.broker.Ready(); err != nil {
		writeJSON(w, nethttp.StatusServiceUnavailable, map[string]string{"status": "not ready", "reason": err.Error()})
		return
	}
	writeJSON(w, nethttp.StatusOK, map[string]string{"status": "ready"})
}

func (s *Server) cluster(w nethttp.ResponseWriter, r *nethttp.Request) {
	writeJSON(w, nethttp.StatusOK, s.broker.ClusterStatus(r.Context()))
}

// authorised lets loopback clients in without a login, and others with the credentials of HTTP basic authentication.
func (s *Server) authorised(h nethttp.HandlerFunc) nethttp.HandlerFunc {
	return func(w nethttp.ResponseWriter, r *nethttp.Request) {
		user, password, given := r.BasicAuth()
		if !given && fromLoopback(r.RemoteAddr) {
			h(w, r)
			return
		}
		if given {
			_, err := s.broker.Login(r.Context(), user, password, r.RemoteAddr)
			given = err == nil
		}
		if !given {
			w.Header().Set("WWW-Authenticate", `Basic realm="TriageMQ"`)
			writeJSON(w, nethttp.StatusUnauthorized, map[string]string{"error": "not_authorised", "reason": "Login failed"})
			return
		}
		h(w, r)
	}
}

func fromLoopback(remoteAddr string) bool {
	host, _, err := net.SplitHostPort(remoteAddr)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

func writeJSON(w nethttp.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		nethttp.Error(w, err.Error(), nethttp.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(b, '\n'))
}
