package amqp

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/broker/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// waitMax is how long a test waits for what must happen at once.
const waitMax = 10 * time.Second

// memoryLog is a replicated log of one node: what is sent is committed at once.
type memoryLog struct {
	node    *broker.Node
	changed chan struct{}
	items   chan []byte
	done    chan struct{}

	broker.Membership // none: it is alone

	mu    sync.Mutex
	index uint64
	boot  uint64
}

func (l *memoryLog) Self() string { return "n1" }
func (l *memoryLog) Leadership() (broker.Leadership, <-chan struct{}) {
	return broker.Leadership{Node: "n1", Term: 1, Self: true}, l.changed
}
func (l *memoryLog) OpenStream(context.Context) (broker.Stream, error) {
	return &memoryStream{log: l, done: make(chan struct{})}, nil
}
func (l *memoryLog) Propose(_ context.Context, item []byte) error { return l.send(item) }
func (l *memoryLog) ReadIndex(context.Context) (uint64, error)    { return l.CommitIndex(), nil }
func (l *memoryLog) Call(context.Context, string, []byte) ([]byte, error) {
	return nil, errors.New("alone")
}
func (l *memoryLog) Post(context.Context, string, []byte) error { return errors.New("alone") }
func (l *memoryLog) Members() []broker.Member {
	return []broker.Member{{Node: "n1", Name: "n1", Voter: true}}
}
func (l *memoryLog) LastHeard(string) time.Time { return time.Now() }
func (l *memoryLog) FreshSnapshot(context.Context, uint64) (broker.LogSnapshot, error) {
	return broker.LogSnapshot{}, errors.New("this log keeps none")
}
func (l *memoryLog) TransferLeadership(context.Context) error { return nil }

func (*memoryLog) Gone(context.Context, string) bool { return false }

func (l *memoryLog) NextBoot() (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.boot++
	return l.boot, nil
}

func (l *memoryLog) CommitIndex() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.index
}

func (l *memoryLog) send(item []byte) error {
	select {
	case l.items <- item:
		return nil
	case <-l.done:
		return errors.New("log closed")
	}
}

// run joins whatever waits into one entry and applies it.
func (l *memoryLog) run() {
	for {
		var items [][]byte
		select {
		case item := <-l.items:
			items = append(items, item)
		case <-l.done:
			return
		}
		for more := true; more && len(items) < 64; {
			select {
			case item := <-l.items:
				items = append(items, item)
			default:
				more = false
			}
		}
		entry := l.node.Seal(nil, items)
		l.mu.Lock()
		l.index++
		index := l.index
		l.mu.Unlock()
		l.node.Apply(index, 1, entry)
	}
}

type memoryStream struct {
	log  *memoryLog
	once sync.Once
	done chan struct{}
}

func (s *memoryStream) Send(item []byte) error { return s.log.send(item) }
func (s *memoryStream) Done() <-chan struct{}  { return s.done }
func (s *memoryStream) Close()                 { s.once.Do(func() { close(s.done) }) }

// newNode runs a real node on a log in memory.
func newNode(t testing.TB) *broker.Node {
	t.Helper()
	cfg := broker.Default()
	cfg.DiskFreeLowBytes = 0
	cfg.MemoryWatermark = memory.Watermark{Bytes: 1 << 50}
	cfg.Logger = testLogger("broker")
	_, isBenchmark := t.(*testing.B)
	cfg.CheckState = !isBenchmark
	n, err := broker.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := &memoryLog{node: n, changed: make(chan struct{}), items: make(chan []byte), done: make(chan struct{})}
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	n.Lead(1)
	running.Go(l.run)
	running.Go(func() { _ = n.Run(ctx, l) })
	t.Cleanup(func() {
		n.Follow()
		cancel()
		close(l.done)
		running.Wait()
	})
	_, accepting := n.Accepting()
	select {
	case <-accepting:
	case <-time.After(waitMax):
		t.Fatal("the node does not open")
	}
	return n
}

func testLogger(name string) hclog.Logger {
	if os.Getenv("TRIAGEMQ_TEST_LOG") == "" {
		return hclog.NewNullLogger()
	}
	return hclog.New(&hclog.LoggerOptions{Name: name, Level: hclog.Debug})
}

// testConfig is the default with short times.
func testConfig() Config {
	c := Default()
	c.LoginDelay = time.Millisecond
	c.Logger = testLogger("amqp")
	return c
}

// serve opens a server for a broker.
func serve(t testing.TB, b Broker, config Config) *Server {
	t.Helper()
	if err := config.Validate(); err != nil {
		t.Fatal(err)
	}
	s := New(config, b)
	if err := s.Open("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitMax)
		defer cancel()
		s.Close(ctx)
	})
	return s
}

func dial(t testing.TB, s *Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * waitMax))
	return conn
}
