package fsm

import (
	"maps"
	"slices"
)

// ChannelView is a channel as operators see it; a failed one that its client has not closed yet is still listed.
type ChannelView struct {
	Session        SessionKey
	Number         uint16
	Confirm        bool   // a publish asked for a confirm; not known of channels that this replica has from a snapshot
	Prefetch       uint16 // of each consumer, 0 = no limit
	PrefetchShared uint16 // of all consumers, 0 = no limit
	Consumers      int
	Unacked        int
	Failed         bool
}

// SessionKey names a session.
type SessionKey struct {
	Origin Origin
	Conn   uint32
}

// OriginSessions is the number of sessions of a node.
func (s *State) OriginSessions(node string) int {
	if o := s.origins[node]; o != nil {
		return len(o.sessions)
	}
	return 0
}

// Channels lists the channels of a session by number.
func (s *State) Channels(key SessionKey) []ChannelView {
	o := s.origins[key.Origin.Node]
	if o == nil || o.boot != key.Origin.Boot || o.sessions[key.Conn] == nil {
		return nil
	}
	channels := o.sessions[key.Conn].channels
	views := make([]ChannelView, 0, len(channels))
	for _, number := range slices.Sorted(maps.Keys(channels)) {
		views = append(views, channels[number].view())
	}
	return views
}

func (ch *channel) view() ChannelView {
	return ChannelView{
		Session: ch.session.key(), Number: ch.number, Confirm: ch.confirms, Prefetch: ch.limitEach, PrefetchShared: ch.limitShared,
		Consumers: len(ch.consumers), Unacked: ch.unacked.Len(), Failed: ch.failed,
	}
}

func (ses *session) key() SessionKey { return SessionKey{Origin: ses.origin.name(), Conn: ses.conn} }
