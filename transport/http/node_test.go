package http

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/fsm"
)

// soleLog is the log of a cluster of one: what is sent is committed.
type soleLog struct {
	broker.Membership // none: it is alone

	node    *broker.Node
	items   chan []byte
	changed chan struct{} // leadership never changes
	mu      sync.Mutex    // guards what follows
	index   uint64
}

type soleStream struct {
	log  *soleLog
	done chan struct{}
	once sync.Once
}

func (s *soleStream) Send(item []byte) error {
	select {
	case s.log.items <- append([]byte(nil), item...):
		return nil
	case <-s.done:
		return errors.New("closed")
	}
}
func (s *soleStream) Done() <-chan struct{} { return s.done }
func (s *soleStream) Close()                { s.once.Do(func() { close(s.done) }) }

func (l *soleLog) Self() string { return "n1-x" }
func (l *soleLog) Leadership() (broker.Leadership, <-chan struct{}) {
	return broker.Leadership{Node: "n1-x", Term: 1, Self: true}, l.changed
}
func (l *soleLog) OpenStream(context.Context) (broker.Stream, error) {
	return &soleStream{log: l, done: make(chan struct{})}, nil
}
func (l *soleLog) Propose(ctx context.Context, item []byte) error {
	select {
	case l.items <- append([]byte(nil), item...):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
func (l *soleLog) ReadIndex(context.Context) (uint64, error) { return l.CommitIndex(), nil }
func (l *soleLog) CommitIndex() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.index
}
func (l *soleLog) Call(context.Context, string, []byte) ([]byte, error) {
	return nil, errors.New("nobody else is there")
}
func (l *soleLog) Post(context.Context, string, []byte) error {
	return errors.New("nobody else is there")
}
func (l *soleLog) Members() []broker.Member {
	return []broker.Member{{Node: "n1-x", Name: "n1", Voter: true, AMQP: "127.0.0.1:5672", HTTP: "127.0.0.1:15672", Peer: "127.0.0.1:7672"}}
}
func (*soleLog) Gone(context.Context, string) bool { return false }
func (l *soleLog) LastHeard(string) time.Time      { return time.Now() }
func (l *soleLog) NextBoot() (uint64, error)       { return 1, nil }
func (l *soleLog) FreshSnapshot(context.Context, uint64) (broker.LogSnapshot, error) {
	frozen, err := l.node.Freeze()
	if err != nil {
		return broker.LogSnapshot{}, err
	}
	defer frozen.Release()
	var b bytes.Buffer
	_, err = frozen.WriteTo(&b)
	return broker.LogSnapshot{ReadCloser: io.NopCloser(&b), Cluster: "c", Index: l.CommitIndex(), Term: 1, SizeBytes: int64(b.Len())}, err
}
func (l *soleLog) TransferLeadership(context.Context) error { return nil }

func (l *soleLog) run(ctx context.Context) {
	for {
		select {
		case item := <-l.items:
			entry := l.node.Seal(nil, [][]byte{item})
			l.mu.Lock()
			l.index++
			index := l.index
			l.mu.Unlock()
			l.node.Apply(index, 1, entry)
		case <-ctx.Done():
			return
		}
	}
}

// startNode runs a whole broker without a cluster and its HTTP door, not bound to a port.
func startNode(t testing.TB) (*Server, *broker.Node) {
	t.Helper()
	cfg := broker.Default()
	cfg.AMQPAddr, cfg.HTTPAddr, cfg.PeerAddr, cfg.Version = "127.0.0.1:5672", "127.0.0.1:15672", "127.0.0.1:7672", "0.1.0"
	n, err := broker.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := &soleLog{node: n, items: make(chan []byte), changed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { l.run(ctx) })
	n.Lead(1)
	stopped, stop := context.WithCancel(ctx)
	parts.Go(func() { _ = n.Run(stopped, l) })
	t.Cleanup(func() {
		n.Follow()
		stop()
		cancel()
		parts.Wait()
	})
	_, accepting := n.Accepting()
	select {
	case <-accepting:
	case <-time.After(10 * time.Second):
		t.Fatal("the node does not open")
	}
	return New(Default(), n), n
}

// ask makes a request as guest from loopback.
func (s *Server) ask(method, path, body string) *httptest.ResponseRecorder {
	return s.askAs("guest", "guest", method, path, body)
}

func (s *Server) askAs(user, password, method, path, body string) *httptest.ResponseRecorder {
	var b io.Reader
	if body != "" {
		b = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, "/api/"+path, b)
	r.RemoteAddr = "127.0.0.1:40000"
	r.SetBasicAuth(user, password)
	w := httptest.NewRecorder()
	s.http.Handler.ServeHTTP(w, r)
	return w
}

// client opens a session as an AMQP client would, with channel 1, and carries out commands.
type client struct {
	*session
	t testing.TB
}

func openClient(t testing.TB, n *broker.Node, spec broker.SessionSpec) *client {
	t.Helper()
	s := &session{outcomes: make(chan outcome, sessionWindow), ended: make(chan struct{})}
	b, err := n.OpenSession(t.Context(), spec, s)
	if err != nil {
		t.Fatal(err)
	}
	s.broker = b
	return &client{session: s, t: t}
}

func (c *client) must(build func(ref fsm.Ref) fsm.Command) outcome {
	c.t.Helper()
	o, err := c.do(c.t.Context(), build)
	if err != nil {
		c.t.Fatal(err)
	}
	return o
}
