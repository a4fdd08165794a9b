package broker

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/triagemq/triagemq/fsm"
)

// Direct replies are RabbitMQ's direct reply-to: a requester opens an address at its node, a responder anywhere in the cluster sends to it, and the reply goes
// from node to node, outside the log. It is kept nowhere: it arrives at most once, and dies with the requester's channel.
//
// An address is NODE.KEY: which node knows the key, and 128 random bits that nobody guesses. The node's boot, the connection and the channel are what the key
// stands for there, so an address of a boot that is over means nothing to the next one.

// DirectReply is a message on its way to a reply address.
type DirectReply struct {
	Address    string
	Properties []byte // encoded, as in a content header
	Body       []byte
}

// ReplyTaker is the door's side of a reply address.
type ReplyTaker interface {
	// TakeReply takes a reply for its client without blocking; false where the client is gone, or does not take what it is sent. Properties and Body are valid
	// during the call only. Any goroutine; no lock of the node is held.
	TakeReply(r DirectReply) bool
}

const (
	replyAskedMax   = 1024            // outcomes awaited from other nodes; SendReply blocks above it
	replyAnswerTime = 5 * time.Second // a node that says nothing for so long does not know the address
)

// directReplies are the addresses that were opened here, and the outcomes that are awaited from elsewhere.
type directReplies struct {
	slots chan struct{} // one for each outcome that is awaited

	mu     sync.Mutex // guards what follows
	takers map[string]ReplyTaker
	asked  map[uint64]*askedReply
	last   uint64
}

// askedReply is an outcome that another node has to tell.
type askedReply struct {
	node    string
	outcome func(taken bool)
	late    *time.Timer
}

func newDirectReplies() *directReplies {
	return &directReplies{slots: make(chan struct{}, replyAskedMax), takers: map[string]ReplyTaker{}, asked: map[uint64]*askedReply{}}
}

// OpenReplyAddress makes an address to which any node's clients may send, until CloseReplyAddress. Any goroutine.
func (n *Node) OpenReplyAddress(t ReplyTaker) (address string) {
	var octets [16]byte
	rand.Read(octets[:])
	key := base64.StdEncoding.EncodeToString(octets[:]) // RabbitMQ's form, which ends in ==
	d := n.replies
	d.mu.Lock()
	defer d.mu.Unlock()
	d.takers[key] = t
	return n.self + "." + key
}

// CloseReplyAddress ends an address that was opened here. A call of its taker may be under way. Any goroutine.
func (n *Node) CloseReplyAddress(address string) {
	_, key, _ := splitReplyAddress(address)
	d := n.replies
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.takers, key)
}

// splitReplyAddress tells the node from the key. Names of nodes may have dots, keys have none.
func splitReplyAddress(address string) (node, key string, ok bool) {
	i := strings.LastIndexByte(address, '.')
	if i < 0 {
		return "", "", false
	}
	return address[:i], address[i+1:], i > 0 && i+1 < len(address)
}

// ReplyRefused tells why a user may not send replies, "" = he may: a reply is a publish to the default exchange, though it is not in the log. The permissions
// are those that this node has applied. Any goroutine.
func (n *Node) ReplyRefused(vhost, user string) (why string) {
	n.replica.view(func(s *fsm.State) { why = s.WriteRefused(vhost, user, "") })
	return why
}

// SendReply sends a reply to its address. It blocks while too much waits for that node, a few seconds at most, after which the reply is lost. outcome, unless it is nil,
// is called once with whether the requester's door took the reply: perhaps before SendReply returns, perhaps from another goroutine, and with false where nothing is heard for
// replyAnswerTime. Any goroutine.
func (n *Node) SendReply(ctx context.Context, r DirectReply, outcome func(taken bool)) {
	node, key, ok := splitReplyAddress(r.Address)
	switch {
	case !ok:
		settleReply(outcome, false)
	case node == n.self:
		settleReply(outcome, n.takeReply(key, r))
	default:
		n.postReply(ctx, node, replyDatagram{kind: replySent, key: key, properties: r.Properties, body: r.Body}, outcome)
	}
}

// ReplyAddressOpen reports whether a reply would find its requester. Any goroutine.
func (n *Node) ReplyAddressOpen(ctx context.Context, address string) bool {
	node, key, ok := splitReplyAddress(address)
	if !ok || node == n.self {
		return ok && n.replies.taker(key) != nil
	}
	answer := make(chan bool, 1)
	n.postReply(ctx, node, replyDatagram{kind: replyProbed, key: key}, func(open bool) { answer <- open })
	select {
	case open := <-answer:
		return open
	case <-ctx.Done():
		return false
	}
}

func settleReply(outcome func(bool), taken bool) {
	if outcome != nil {
		outcome(taken)
	}
}

// takeReply hands a reply to the door of its requester.
func (n *Node) takeReply(key string, r DirectReply) bool {
	t := n.replies.taker(key)
	return t != nil && t.TakeReply(r)
}

func (d *directReplies) taker(key string) ReplyTaker {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.takers[key]
}

// postReply sends a datagram whose outcome, if it matters, the other node has to tell.
func (n *Node) postReply(ctx context.Context, node string, m replyDatagram, outcome func(bool)) {
	if outcome != nil {
		var ok bool
		if m.asked, ok = n.replies.ask(ctx, node, outcome); !ok {
			outcome(false)
			return
		}
	}
	if err := n.log.Post(ctx, node, m.append(nil)); err != nil {
		n.logger.Debug("a direct reply is lost", "node", node, "error", err)
		n.replies.answered(m.asked, false)
	}
}

// ask numbers an outcome to be awaited; false when ctx ended before there was room for it.
func (d *directReplies) ask(ctx context.Context, node string, outcome func(bool)) (number uint64, ok bool) {
	select {
	case d.slots <- struct{}{}:
	case <-ctx.Done():
		return 0, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last++
	number = d.last
	d.asked[number] = &askedReply{node, outcome, time.AfterFunc(replyAnswerTime, func() { d.answered(number, false) })}
	return number, true
}

// answered tells the outcome, once.
func (d *directReplies) answered(number uint64, taken bool) {
	d.mu.Lock()
	a := d.asked[number]
	delete(d.asked, number)
	d.mu.Unlock()
	if a == nil {
		return
	}
	a.late.Stop()
	<-d.slots
	a.outcome(taken)
}

// Posted takes another node's datagram (Log.Post). It does not block. Any goroutine.
func (n *Node) Posted(from string, datagram []byte) {
	m, err := decodeReplyDatagram(datagram)
	if err != nil {
		n.logger.Warn("a datagram does not decode", "node", from, "error", err)
		return
	}
	switch m.kind {
	case replySent:
		taken := n.takeReply(m.key, DirectReply{Address: n.self + "." + m.key, Properties: m.properties, Body: m.body})
		n.answerReply(from, m.asked, taken)
	case replyProbed:
		n.answerReply(from, m.asked, n.replies.taker(m.key) != nil)
	case replyTaken, replyNotTaken:
		n.replies.answered(m.asked, m.kind == replyTaken)
	}
}

// PostsLost says that datagrams to a node were lost (Log.Post): what it was asked is not answered. Any goroutine.
func (n *Node) PostsLost(node string) {
	for _, number := range n.replies.askedOf(node) {
		n.replies.answered(number, false)
	}
}

func (d *directReplies) askedOf(node string) (numbers []uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for number, a := range d.asked {
		if a.node == node {
			numbers = append(numbers, number)
		}
	}
	return numbers
}

// answerReply tells an outcome to the node that asked for it. It does not wait for room: the next datagrams wait behind this one.
func (n *Node) answerReply(node string, asked uint64, taken bool) {
	if asked == 0 || !n.isAttached() {
		return
	}
	kind := replyNotTaken
	if taken {
		kind = replyTaken
	}
	if err := n.log.Post(atOnce, node, replyDatagram{kind: kind, asked: asked}.append(nil)); err != nil {
		n.logger.Debug("the outcome of a direct reply is lost", "node", node, "error", err)
	}
}

// atOnce is a context that has ended: what is called with it does what needs no waiting.
var atOnce = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// A datagram is, integers big-endian (docs/formats.md): kind, uint64 asked, uint8 length of the key, key, uint32 length of the properties, properties, body.
type replyDatagram struct {
	kind       byte
	asked      uint64 // number of the outcome at the node that awaits it; 0: it awaits none
	key        string
	properties []byte
	body       []byte
}

const (
	replySent     byte = 1 // to the requester's node
	replyProbed   byte = 2 // whether the address is open
	replyTaken    byte = 3 // the outcome
	replyNotTaken byte = 4

	replyDatagramFixed = 1 + 8 + 1 + 4
)

var errReplyDatagram = errors.New("broker: malformed datagram")

func (m replyDatagram) append(b []byte) []byte {
	if b == nil {
		b = make([]byte, 0, replyDatagramFixed+len(m.key)+len(m.properties)+len(m.body))
	}
	b = binary.BigEndian.AppendUint64(append(b, m.kind), m.asked)
	b = append(append(b, byte(len(m.key))), m.key...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.properties)))
	return append(append(b, m.properties...), m.body...)
}

// decodeReplyDatagram reads a datagram; properties and body alias it.
func decodeReplyDatagram(b []byte) (m replyDatagram, err error) {
	if len(b) < replyDatagramFixed || b[0] < replySent || b[0] > replyNotTaken {
		return m, errReplyDatagram
	}
	m.kind, m.asked = b[0], binary.BigEndian.Uint64(b[1:])
	keySize, b := int(b[9]), b[10:]
	if len(b) < keySize+4 {
		return m, errReplyDatagram
	}
	m.key = string(b[:keySize])
	propertiesSize, b := binary.BigEndian.Uint32(b[keySize:]), b[keySize+4:]
	if uint64(len(b)) < uint64(propertiesSize) {
		return m, errReplyDatagram
	}
	m.properties, m.body = b[:propertiesSize], b[propertiesSize:]
	return m, nil
}
