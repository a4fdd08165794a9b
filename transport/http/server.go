// Package http is the broker's HTTP door: health probes, the cluster's state, and RabbitMQ's management API.
//
// It owns no state of the broker. It reads this node's replica, after a read index so that what a client was told on another node is there; what changes
// topology or messages goes through a broker.Session of the user who asked (session.go), what changes users, policies and the like through the operator's
// calls of the broker. So every node answers for the whole cluster. One Server per node, opened before the AMQP door so that probes see a node that is
// still starting. Its goroutines are net/http's, bounded by time-outs; Close joins them.
//
// Start reading at New, then routes.go: the table of the API. Each resource has its file. docs/management-api.md tells what deviates from RabbitMQ.
package http

import (
	"context"
	"errors"
	"io"
	"net"
	nethttp "net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/fsm"
)

// Broker is what the door needs of a node; *broker.Node has it.
type Broker interface {
	Ready() error
	Accepting() (bool, <-chan struct{})
	Login(ctx context.Context, user, password, remoteAddr string) (broker.Identity, error)
	ClusterStatus(ctx context.Context) broker.ClusterStatus
	CatchUp(ctx context.Context)
	MemoryShort() bool
	OpenSession(ctx context.Context, spec broker.SessionSpec, h broker.Handler) (*broker.Session, error)
	Operate(ctx context.Context, build func(ref fsm.Ref) fsm.Command) (fsm.Effect, error)
	View(f func(s *fsm.State))
	QueueNames(vhost string) []fsm.ObjectName
	QueueDetails(names []fsm.ObjectName) []fsm.QueueDetail
	Exchanges(vhost string) []fsm.ExchangeView
	Bindings(vhost string) []fsm.BindingView
	Consumers(vhost string) []fsm.ConsumerView
	Sessions() []fsm.SessionView
	Channels(sessions []fsm.SessionView) []fsm.ChannelView
	Users() []fsm.UserView
	User(name string) (fsm.UserView, bool)
	PutUser(ctx context.Context, u broker.UserSpec) error
	DeleteUser(ctx context.Context, name string) error
	PutUserLimits(ctx context.Context, user string, connectionsMax, channelsMax int64) error
	Permissions() []fsm.PermissionView
	PutPermission(ctx context.Context, p fsm.PermissionView) error
	DeletePermission(ctx context.Context, vhost, user string) error
	TopicPermissions() []fsm.TopicPermissionView
	PutTopicPermission(ctx context.Context, p fsm.TopicPermissionView) error
	DeleteTopicPermission(ctx context.Context, vhost, user, exchange string) error
	DeleteTopicPermissions(ctx context.Context, vhost, user string) error
	VHosts() []fsm.VHostView
	VHost(name string) (fsm.VHostView, bool)
	PutVHost(ctx context.Context, v broker.VHostSpec) error
	DeleteVHost(ctx context.Context, name string) error
	PutVHostLimits(ctx context.Context, vhost string, connectionsMax, queuesMax int64) error
	EndSession(ctx context.Context, origin fsm.Origin, conn uint32, reason string) error
	Policies(vhost string, operator bool) []fsm.PolicyView
	Policy(vhost, name string, operator bool) (fsm.PolicyView, bool)
	Parameters(vhost, component string) []fsm.ParameterView
	GlobalParameters() []fsm.ParameterView
	Parameter(vhost, component, name string) (fsm.ParameterView, bool)
	Rates() *broker.RateTable
	OpenBackup(ctx context.Context) (*broker.Backup, error)
	OwnDetails() broker.NodeDetails
	Details(ctx context.Context) []broker.NodeDetails
	TransferLeadershipTo(ctx context.Context, name string) error
	RemoveServer(ctx context.Context, name string, force bool) error
	Leave(ctx context.Context) error
}

// requestBound limits how long a client may take to send its request.
const requestBound = 15 * time.Second

// answerBound limits the same where much is asked for: importing definitions, listing very many objects.
const answerBound = 2 * time.Minute

// Server answers HTTP requests for one node.
type Server struct {
	cfg    Config
	broker Broker
	log    hclog.Logger
	http   nethttp.Server
	done   sync.WaitGroup
	routes []route
	nodes  nodeCache
	bodies bodies

	ending context.Context // ends with Close: what streams for long is given up
	end    context.CancelFunc
}

// New returns a server that does nothing until Open.
func New(cfg Config, b Broker) *Server {
	log := cfg.Logger
	s := &Server{cfg: cfg, broker: b, log: log, bodies: bodies{maxBytes: cfg.BodyBytesMax}, routes: append(routes(), nextRoutes()...)}
	s.ending, s.end = context.WithCancel(context.Background())
	mux := nethttp.NewServeMux()
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /api/cluster", s.authorised(s.cluster))
	s.http = nethttp.Server{
		Handler:           nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) { s.dispatch(mux, w, r) }),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       requestBound,
		WriteTimeout:      answerBound,
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
	s.end()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	s.done.Wait()
	return err
}

// dispatch keeps the management API away from the mux, which would clean paths: an empty segment is the name of the default exchange.
func (s *Server) dispatch(mux *nethttp.ServeMux, w nethttp.ResponseWriter, r *nethttp.Request) {
	if strings.HasPrefix(r.URL.Path, "/api/") && r.URL.Path != "/api/cluster" {
		s.api(w, r)
		return
	}
	mux.ServeHTTP(w, r)
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
		if r.Header.Get("Authorization") != "" || !fromLoopback(r.RemoteAddr) {
			if _, err := s.login(r); err != nil {
				writeFailure(w, failureOf(err))
				return
			}
		}
		h(w, r)
	}
}

// login checks the credentials of HTTP basic authentication.
func (s *Server) login(r *nethttp.Request) (broker.Identity, error) {
	user, password, given := r.BasicAuth()
	if given {
		who, err := s.broker.Login(r.Context(), user, password, r.RemoteAddr)
		if err == nil {
			return who, nil
		}
		if !errors.Is(err, broker.ErrAccess) {
			return who, err
		}
		// A node that starts may not know its users yet.
		if accepting, _ := s.broker.Accepting(); !accepting {
			return who, broker.ErrNotAccepting
		}
	}
	f := notAuthorised("Login failed")
	f.login = true
	return broker.Identity{}, f
}

// api answers for the management API.
func (s *Server) api(w nethttp.ResponseWriter, r *nethttp.Request) {
	req := &request{server: s, http: r}
	defer req.unreserve()
	answer, err := s.call(w, req)
	if err != nil {
		writeFailure(w, failureOf(err))
		return
	}
	if answer.location != "" {
		w.Header().Set("Location", answer.location)
	}
	if answer.raw != nil {
		answer.raw(w)
		return
	}
	if answer.body == nil {
		w.WriteHeader(answer.status)
		return
	}
	writeJSON(w, answer.status, answer.body)
}

// catchUpBound is how long a request waits to see what was committed when it came; without a leader it is answered with what this node has.
const catchUpBound = 500 * time.Millisecond

func (s *Server) call(w nethttp.ResponseWriter, req *request) (response, error) {
	r := req.http
	parts, err := segments(r.URL)
	if err != nil {
		return response{}, err
	}
	found, args, methods := match(s.routes, r.Method, parts)
	req.args, req.query = args, r.URL.Query()
	if found == nil && len(methods) > 0 {
		w.Header().Set("Allow", strings.Join(methods, ", "))
		return response{}, &failure{status: nethttp.StatusMethodNotAllowed, name: "method_not_allowed", reason: "Method Not Allowed"}
	}
	if found == nil || found.access != nil {
		who, err := s.login(r)
		if err != nil {
			return response{}, err
		}
		req.who = who
	}
	if found == nil {
		return response{}, notFound()
	}
	ctx, cancel := context.WithTimeout(r.Context(), catchUpBound)
	s.broker.CatchUp(ctx)
	cancel()
	if found.access != nil {
		if err := found.access(req); err != nil {
			return response{}, err
		}
	}
	return found.handle(req)
}

func writeFailure(w nethttp.ResponseWriter, f *failure) {
	if f.login {
		w.Header().Set("WWW-Authenticate", `Basic realm="TriageMQ"`)
	}
	writeJSON(w, f.status, object{{"error", f.name}, {"reason", f.reason}})
}

func fromLoopback(remoteAddr string) bool {
	host, _, err := net.SplitHostPort(remoteAddr)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

// stream is a body that is too large to be made as a whole.
type stream interface{ writeTo(w io.Writer) }

func writeJSON(w nethttp.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(status)
	if long, isLong := v.(stream); isLong {
		long.writeTo(w)
		return
	}
	w.Write(append(appendJSON(nil, v), '\n'))
}
