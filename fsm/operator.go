package fsm

import (
	"maps"
	"slices"

	"github.com/triagemq/triagemq/fsm/store"
)

// applyOperator applies a command of the node itself. Its reply carries the outcome: there is no channel to fail.
func (s *State) applyOperator(o *origin, kind CommandKind, ref Ref, payload []byte) {
	r := s.early(kind)
	if r == nil {
		r = s.operate(kind, ref, payload)
	}
	if s.mine != o {
		return
	}
	e := Effect{Kind: Replied, Ref: ref, Command: kind}
	if r != nil {
		e.Code, e.Text = r.code, r.text
	}
	s.emitNode(e)
}

func (s *State) operate(kind CommandKind, ref Ref, payload []byte) *refusal {
	switch kind {
	case KindPutVHost:
		var c PutVHost
		s.decoded(c.decode(ref, payload))
		return s.putVHost(&c)
	case KindDeleteVHost:
		var c DeleteVHost
		s.decoded(c.decode(ref, payload))
		return s.deleteVHost(&c)
	case KindPutVHostLimits:
		var c PutVHostLimits
		s.decoded(c.decode(ref, payload))
		return s.putVHostLimits(&c)
	case KindEndSession:
		var c EndSession
		s.decoded(c.decode(ref, payload))
		return s.endSession(&c)
	}
	return s.operateUsers(kind, ref, payload)
}

func (s *State) operateUsers(kind CommandKind, ref Ref, payload []byte) *refusal {
	switch kind {
	case KindInitUsers:
		var c InitUsers
		s.decoded(c.decode(ref, payload))
		return s.initUsers(&c)
	case KindPutUser:
		var c PutUser
		s.decoded(c.decode(ref, payload))
		return s.putUser(&c)
	case KindDeleteUser:
		var c DeleteUser
		s.decoded(c.decode(ref, payload))
		return s.deleteUser(&c)
	case KindPutUserLimits:
		var c PutUserLimits
		s.decoded(c.decode(ref, payload))
		return s.putUserLimits(&c)
	case KindPutPermission:
		var c PutPermission
		s.decoded(c.decode(ref, payload))
		return s.putPermission(&c)
	case KindDeletePermission:
		var c DeletePermission
		s.decoded(c.decode(ref, payload))
		return s.deletePermission(&c)
	case KindPutTopicPermission:
		var c PutTopicPermission
		s.decoded(c.decode(ref, payload))
		return s.putTopicPermission(&c)
	case KindDeleteTopicPermission:
		var c DeleteTopicPermission
		s.decoded(c.decode(ref, payload))
		return s.deleteTopicPermission(&c)
	}
	return s.operatePolicies(kind, ref, payload)
}

func (s *State) operatePolicies(kind CommandKind, ref Ref, payload []byte) *refusal {
	switch kind {
	case KindPutPolicy:
		var c PutPolicy
		s.decoded(c.decode(ref, payload))
		return s.putPolicy(&c)
	case KindDeletePolicy:
		var c DeletePolicy
		s.decoded(c.decode(ref, payload))
		return s.deletePolicy(&c)
	case KindPutParameter:
		var c PutParameter
		s.decoded(c.decode(ref, payload))
		return s.putParameter(&c)
	case KindDeleteParameter:
		var c DeleteParameter
		s.decoded(c.decode(ref, payload))
		return s.deleteParameter(&c)
	}
	return s.operateNext(kind, ref, payload)
}

// endSession closes one connection at an operator's word.
func (s *State) endSession(c *EndSession) *refusal {
	o := s.origins[c.Node]
	if o == nil || o.boot != c.Boot || o.sessions[c.Conn] == nil {
		return refuse(NotFound, "connection %d of boot %d of node '%s' not found", c.Conn, c.Boot, c.Node)
	}
	s.failSession(o.sessions[c.Conn], KindEndSession, refuse(Forced, "%s", c.Reason))
	return nil
}

// forceSessions ends sessions, each told the same.
func (s *State) forceSessions(ending []*session, kind CommandKind, text string) {
	for _, ses := range ending {
		s.emit(ses, Effect{Kind: SessionFailed, Ref: ses.ref(), Command: kind, Code: Forced, Text: text})
	}
	s.endSessions(ending, store.ReturnConnection)
}

// sessionsWhere lists sessions of all origins in order of node and connection.
func (s *State) sessionsWhere(wanted func(*session) bool) (found []*session) {
	for _, node := range slices.Sorted(maps.Keys(s.origins)) {
		sessions := s.origins[node].sessions
		for _, conn := range slices.Sorted(maps.Keys(sessions)) {
			if ses := sessions[conn]; wanted(ses) {
				found = append(found, ses)
			}
		}
	}
	return found
}
