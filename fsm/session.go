package fsm

import (
	"maps"
	"slices"

	"github.com/triagemq/triagemq/fsm/store"
)

// session is a client connection in the replicated state.
type session struct {
	cold
	serial       uint64
	origin       *origin
	conn         uint32
	vhost        *vhost
	user, name   string
	account      *user                       // the user's record, nil where there is none (derived)
	rights       *permission                 // what the user may do in the virtual host (derived)
	topics       map[string]*topicPermission // by exchange, where he is narrowed (derived)
	details      []byte                      // encoded table, for views
	cancelNotify bool
	channels     map[uint16]*channel // the latest incarnation of each number, failed ones until they are closed
	exclusive    []*queue            // in order of creation
}

func (s *State) openSession(o *origin, c *OpenSession) {
	if c.Ref.Conn == 0 || o.sessions[c.Ref.Conn] != nil {
		return // numbers of connections are never reused: this is a mistake of the origin
	}
	v, r := s.admit(c)
	if r != nil {
		if s.mine == o {
			s.emitNode(Effect{Kind: SessionFailed, Ref: sessionRef(c.Ref.Conn), Command: KindOpenSession, Code: r.code, Text: r.text})
		}
		return
	}
	ses := &session{
		serial: s.nextSerial(), origin: o, conn: c.Ref.Conn, vhost: v, user: c.User, name: c.Name, details: c.Details,
		cancelNotify: c.CancelNotify, channels: make(map[uint16]*channel),
	}
	o.sessions[ses.conn] = ses
	v.sessions++
	s.attach(ses)
	o.churn.ConnectionsCreated++
	s.touch(ses)
	s.emit(ses, Effect{Kind: Replied, Ref: ses.ref(), Command: KindOpenSession})
}

// admit decides whether a user may connect to a virtual host.
func (s *State) admit(c *OpenSession) (*vhost, *refusal) {
	v, u := s.vhosts[c.VHost], s.users[c.User]
	switch {
	case v == nil:
		return nil, refuse(NotAllowed, "vhost %s not found", c.VHost)
	case reached(v.connectionsMax, v.sessions):
		return nil, refuse(NotAllowed, "access to vhost '%s' refused for user '%s': connection limit (%d) is reached", v.name, c.User, v.connectionsMax)
	case u != nil && reached(u.connectionsMax, u.sessions):
		return nil, refuse(NotAllowed, "Connection refused for user '%s': user connection limit (%d) is reached", u.name, u.connectionsMax)
	}
	if rights, _ := s.rightsIn(u, v); rights == &s.powerless {
		return nil, refuse(NotAllowed, "access to vhost '%s' refused for user '%s'", v.name, c.User)
	}
	return v, nil
}

// closeSession is the orderly end. A session that is gone already is answered too: its client may be waiting.
func (s *State) closeSession(o *origin, ref Ref) {
	if ses := o.sessions[ref.Conn]; ses != nil {
		s.endSessions([]*session{ses}, store.ReturnConnection)
	}
	if s.mine == o {
		s.emitNode(Effect{Kind: Replied, Ref: sessionRef(ref.Conn), Command: KindCloseSession})
	}
}

// failSession is a connection exception, or the forced end of a session.
func (s *State) failSession(ses *session, kind CommandKind, r *refusal) {
	s.emit(ses, Effect{Kind: SessionFailed, Ref: ses.ref(), Command: kind, Code: r.code, Text: r.text})
	s.endSessions([]*session{ses}, store.ReturnConnection)
}

// endSessions takes sessions out of the state. All their consumers go first, so that what they hold is not handed from one dying session to the next;
// exclusive queues go before the held messages, which then need not go back to them.
func (s *State) endSessions(ending []*session, cause store.ReturnCause) {
	var channels []*channel
	for _, ses := range ending {
		delete(ses.origin.sessions, ses.conn)
		ses.vhost.sessions--
		ses.leaveUser()
		ses.origin.churn.ConnectionsClosed++
		s.forget(ses)
		for _, number := range slices.Sorted(maps.Keys(ses.channels)) {
			channels = append(channels, ses.channels[number])
		}
	}
	for _, ch := range slices.Backward(channels) {
		s.removeConsumers(ch)
	}
	for _, ses := range slices.Backward(ending) {
		for _, q := range slices.Backward(slices.Clone(ses.exclusive)) {
			s.dropQueue(q)
		}
	}
	for _, ch := range channels {
		s.endChannel(ch, cause)
	}
}

func (ses *session) ref() Ref { return sessionRef(ses.conn) }

func sessionRef(conn uint32) Ref { return Ref{Conn: conn} }
