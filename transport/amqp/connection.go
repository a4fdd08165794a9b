package amqp

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/triagemq/triagemq/transport/wire"
)

// phase is where a connection stands.
//
//	opening ──open-ok──▶ running ──▶ closing (connection.close sent: close-ok is awaited, nothing else is sent)
//	   └────────────────────┴─────▶ closed  (the client closes, or the socket is lost: nothing is sent but close-ok)
type phase uint8

const (
	phaseOpening phase = iota
	phaseRunning
	phaseClosing
	phaseClosed
)

// Reasons for which the reader stops that are not I/O errors.
var (
	errClientCloses = errors.New("closed by the client")
	errEnded        = errors.New("ended by the broker")
	errSilent       = errors.New("no sign of life from the client")
)

// connection is one client. Fields above mu belong to the reader goroutine, or do not change once the writer runs.
type connection struct {
	server *Server
	config *Config
	tcp    net.Conn
	socket net.Conn // tcp, paced, below TLS where the door asks for it
	log    hclog.Logger

	name         string // "peer -> local"
	tlsVersion   string // "" = no TLS
	client       client
	user         string
	impersonates bool   // its tags let the user publish in other users' names
	mechanism    string // by which the user logged in
	vhost        string
	since        time.Time
	tuned        wire.ConnectionTune // what was agreed on

	ctx        context.Context // ends when the socket is lost or given up: whatever the reader waits for is in vain
	lost       context.CancelFunc
	session    Session
	in         *wire.Reader
	armed      time.Time // when the read deadline was last set; zero: it must be set again
	commands   *buffer   // decoded and not yet submitted; nil while there are none
	tail       *channel  // whose unfinished publish is the end of commands
	tailStart  int
	partial    int  // bytes of unfinished publishes of all channels
	inTx       int  // of those, what transactions keep
	reserved   int  // bytes of the intake
	growth     int  // commands that make something, since they were last awaited
	published  bool // something that publishes was decoded since AwaitPublish
	publish    wire.BasicPublish
	gate       context.Context // what AwaitPublish is called with; see awaitGate
	leaveGate  context.CancelFunc
	lastOpened uint32 // incarnation of the channel opened last

	held         atomic.Bool   // the reader waits for the broker, not for the peer
	writerSignal chan struct{} // capacity 1
	writerDone   chan struct{}
	readerSignal chan struct{} // capacity 1: see wakeReader

	mu          sync.Mutex // guards what follows
	phase       phase
	out         *buffer // encoded and not yet taken by the writer; nil while there is nothing
	writing     int     // bytes that the writer has taken and not yet written
	writerRuns  bool
	finishing   bool // the writer is to end once all is written
	channels    map[uint16]*channel
	confirming  []*channel  // those with confirms that Flush has to write
	delivered   []*consumer // those with deliveries in out
	due         []*consumer // those that want a grant
	gets        int         // basic.get under way
	readerAt    readerPlace
	woken       bool
	awaiting    context.CancelFunc // cancels what the reader waits for at placeAwaiting
	blocked     string             // why publishers are held; "" = they are not
	publishes   bool
	toldBlocked bool
}

// client is what its properties say.
type client struct {
	name             string
	properties       []byte
	cancelNotify     bool
	blocked          bool
	authFailureClose bool
	nackReason       bool
}

// newConnection takes a socket over; secrets is nil for a door without TLS.
func newConnection(s *Server, tcp net.Conn, secrets *tls.Config) *connection {
	name := tcp.RemoteAddr().String() + " -> " + tcp.LocalAddr().String()
	c := &connection{
		server:       s,
		config:       &s.config,
		tcp:          tcp,
		log:          s.log.With("connection", name),
		name:         name,
		since:        time.Now(),
		in:           wire.NewReader(),
		writerSignal: make(chan struct{}, 1),
		writerDone:   make(chan struct{}),
		readerSignal: make(chan struct{}, 1),
		channels:     make(map[uint16]*channel),
	}
	c.socket = &pacedSocket{tcp, c}
	if secrets != nil {
		c.socket = tls.Server(c.socket, secrets)
	}
	c.ctx, c.lost = context.WithCancel(context.Background())
	return c
}

// serve is the life of a connection, on its reader goroutine.
func (c *connection) serve() {
	defer c.giveBack()
	defer c.in.Close()
	defer c.lost()
	defer c.socket.Close()
	err := c.handshake()
	c.server.handshakeOver(c)
	if err != nil {
		c.log.Info("connection refused", "reason", err)
		return
	}
	c.log.Info("connection opened", "user", c.user, "vhost", c.vhost, "name", c.client.name)
	c.startWriter()
	err = c.read()
	c.end(err)
	<-c.writerDone
	c.log.Info("connection closed", "reason", err)
}

// end takes leave in the way that the reason asks for. The session's end comes before close-ok, so that a client that saw it
// finds its exclusive queues gone and its messages returned.
func (c *connection) end(reason error) {
	defer c.closeReplies()
	var x *exception
	switch {
	case errors.As(reason, &x):
		c.mu.Lock()
		c.closeLocked(x)
		c.mu.Unlock()
		c.closeSession()
		c.awaitCloseOk()
	case errors.Is(reason, errClientCloses):
		c.setPhase(phaseClosed)
		c.closeSession()
		c.mu.Lock()
		c.encoder().b = (&wire.ConnectionCloseOk{}).AppendFrame(c.out.b, 0)
		c.mu.Unlock()
	case errors.Is(reason, errEnded):
		c.closeSession()
		c.awaitCloseOk()
	default:
		c.setPhase(phaseClosed)
		c.abandon()
		c.closeSession()
	}
	c.finishWriter()
}

// giveBack returns what unfinished messages and transactions held of the server's.
func (c *connection) giveBack() {
	c.server.inTx.Add(-int64(c.inTx))
	if c.reserved > 0 {
		c.server.intake.release(c.reserved)
	}
}

func (c *connection) setPhase(p phase) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase = p
}

func (c *connection) closeSession() {
	c.held.Store(true)
	defer c.held.Store(false)
	c.session.Close(context.Background()) // bounded by the session itself; the socket's loss must not cut it short
}

// closeLocked tells the peer of an exception, once. Called with mu held, from any goroutine.
func (c *connection) closeLocked(x *exception) {
	if c.phase == phaseClosing || c.phase == phaseClosed {
		return
	}
	c.flushConfirms()
	if c.phase == phaseRunning {
		c.log.Warn("closing connection", "reason", x)
	}
	c.phase = phaseClosing
	c.encoder().b = x.connectionClose().AppendFrame(c.out.b, 0)
	c.signalWriter()
	c.wakeReader()
}

func (x *exception) connectionClose() *wire.ConnectionClose {
	return &wire.ConnectionClose{ReplyCode: uint16(x.code), ReplyText: x.replyText(), ClassID: x.method.Class(), MethodID: x.method.Method()}
}

// awaitCloseOk reads until the peer has answered connection.close, bounded. Everything else is dropped. After a malformed frame
// there are no frames to find any more: all is said then, and the peer gets a moment to read it.
func (c *connection) awaitCloseOk() {
	_ = c.socket.SetReadDeadline(time.Now().Add(c.config.CloseTimeout))
	for {
		f, ok, err := c.in.Next()
		if err != nil {
			c.finishWriter()
			<-c.writerDone
			c.linger()
			return
		}
		if !ok {
			if c.in.Fill(c.socket) != nil {
				return
			}
			continue
		}
		if f.Type != wire.FrameMethod || f.Channel != 0 {
			continue
		}
		switch id, _, _ := wire.SplitMethod(f.Payload); id {
		case wire.IDConnectionCloseOk:
			return
		case wire.IDConnectionClose: // both at once: answer, and go on waiting
			c.mu.Lock()
			c.encoder().b = (&wire.ConnectionCloseOk{}).AppendFrame(c.out.b, 0)
			c.signalWriter()
			c.mu.Unlock()
		}
	}
}

// abandon gives the socket up: reads, writes and waits end at once. Any goroutine.
func (c *connection) abandon() {
	c.lost()
	_ = c.tcp.Close() // not TLS's way, which would write, and wait for it
}

// shutdown ends the connection because the server does. Any goroutine.
func (c *connection) shutdown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == phaseOpening {
		c.abandon()
		return
	}
	c.closeLocked(exceptionf(connectionForced, 0, "broker forced connection closure with reason 'shutdown'"))
}

// handleConnectionFrame takes a frame of channel 0.
func (c *connection) handleConnectionFrame(f wire.Frame) error {
	if f.Type != wire.FrameMethod {
		return exceptionf(unexpectedFrame, 0, "expected method frame, got non method frame instead on channel 0")
	}
	id, arguments, err := wire.SplitMethod(f.Payload)
	if err != nil {
		return malformed(0, err)
	}
	switch id {
	case wire.IDConnectionClose:
		return errClientCloses
	case wire.IDConnectionCloseOk:
		return nil // left over from closing at the same time
	case wire.IDConnectionUpdateSecret:
		var m wire.ConnectionUpdateSecret
		if err := m.Decode(arguments); err != nil {
			return malformed(id, err)
		}
		c.mu.Lock() // passwords do not expire: there is nothing to renew
		c.encoder().b = (&wire.ConnectionUpdateSecretOk{}).AppendFrame(c.out.b, 0)
		c.signalWriter()
		c.mu.Unlock()
		return nil
	}
	if wire.NewMethod(id) == nil {
		return exceptionf(commandInvalid, id, "unknown method %v", id)
	}
	return exceptionf(channelError, id, "unexpected method %v on channel 0", id)
}

// malformed is the exception for what does not decode: RabbitMQ has 501 for all of it, but for properties (502).
func malformed(method wire.MethodID, err error) *exception {
	if errors.Is(err, wire.ErrUTF8) {
		method = 0
	}
	return &exception{frameError, err.Error(), method}
}

// isTimeout tells a deadline that passed from a broken socket.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
