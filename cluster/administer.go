package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Reasons why the membership stays as it is.
var (
	ErrAmbiguous       = errors.New("cluster: several members have this name, give the server id")
	ErrWouldLoseQuorum = errors.New("cluster: the remaining voters would have no live majority")
	ErrLastVoter       = errors.New("cluster: the last voter cannot go")
	ErrAlive           = errors.New("cluster: the server is alive, or was a moment ago: let it leave, or, where its process has ended, ask again in two seconds")
	ErrNotVoter        = errors.New("cluster: the server has no vote")
	ErrNotNow          = errors.New("cluster: not possible now")
)

// administerErrors are the errors that travel, by their codes. A code that this node does not know is an error as text.
var administerErrors = map[string]error{
	"no_leader": ErrNoLeader, "not_leader": ErrNotLeader, "unknown": ErrUnknown, "ambiguous": ErrAmbiguous, "would_lose_quorum": ErrWouldLoseQuorum, "last_voter": ErrLastVoter,
	"alive": ErrAlive, "not_voter": ErrNotVoter, "not_now": ErrNotNow,
}

// administration is a question or an order for the leader, as JSON; a node that does not know a field ignores it.
type administration struct {
	Do     administerOp `json:"do"`
	Server string       `json:"server"`          // raft server id; "" for a transfer to any
	Name   string       `json:"name,omitempty"`  // in place of Server, where the asking node does not know whose it is
	Force  bool         `json:"force,omitempty"` // of a removal
	Voted  bool         `json:"voted,omitempty"` // of a standing: the server has seen itself as a voter
}

type administerOp string

const (
	doTransfer administerOp = "transfer"  // leadership to Server
	doRemove   administerOp = "remove"    // Server from the configuration
	doMayLeave administerOp = "may_leave" // nothing; would Server's leaving be refused?
	doLeave    administerOp = "leave"     // Server, which asks for itself, from the configuration
	doStanding administerOp = "standing"  // what Server, which asks for itself, is in this cluster
	doPosition administerOp = "position"  // how far the asked server is; any server answers
)

// administered is the leader's answer.
type administered struct {
	Code     string   `json:"code,omitempty"` // of administerErrors; "" with a Text: another error
	Text     string   `json:"text,omitempty"` // of the error; "" = done
	Standing standing `json:"standing,omitempty"`
	Applied  uint64   `json:"applied,omitempty"` // of a position: raft's applied index
	Voted    bool     `json:"voted,omitempty"`   // of a position: the server has seen itself as a voter
}

const (
	administerBound = 30 * time.Second
	administerAgain = 200 * time.Millisecond
	notNowPatience  = 5 * time.Second
)

// TransferLeadershipTo hands leadership to the voter with this name or server id, "" to any other than the present leader, and returns when it is handed over.
// Any node may be asked. ErrUnknown, ErrAmbiguous, ErrNotVoter, ErrNotNow, ErrNoLeader. Any goroutine.
func (g *Group) TransferLeadershipTo(ctx context.Context, server string) error {
	return g.administerNamed(ctx, administration{Do: doTransfer}, server)
}

// RemoveServer takes the server with this name or server id out of the cluster: its origin is closed in the log first, then the configuration changes. Unless
// force is set it is refused where the server is alive (ErrAlive) and where the remaining voters would have no live majority (ErrWouldLoseQuorum): the change
// would then never commit. ErrLastVoter, ErrUnknown, ErrAmbiguous, ErrNotNow, ErrNoLeader; ctx's error leaves open whether the server goes. Any goroutine.
func (g *Group) RemoveServer(ctx context.Context, server string, force bool) error {
	return g.administerNamed(ctx, administration{Do: doRemove, Force: force}, server)
}

// administerNamed gives an order about a server with this name or id, "" for none. The id goes to the leader where this node knows it, so that an order that was
// carried out, and whose answer was lost, is not unknown when it is given again.
func (g *Group) administerNamed(ctx context.Context, a administration, server string) error {
	if server != "" {
		id, err := g.resolve(server)
		switch {
		case err == nil:
			a.Server = id
		case errors.Is(err, ErrUnknown):
			a.Name = server
		default:
			return err
		}
	}
	_, err := g.administer(ctx, a)
	return err
}

// MayLeave reports why Leave would be refused now; nil when it would not. Any goroutine.
func (g *Group) MayLeave(ctx context.Context) error {
	_, err := g.administer(ctx, administration{Do: doMayLeave, Server: g.self})
	return err
}

// Leave takes this node out of the cluster for good and marks its folder. Its origin should be closed before, and leadership handed over. Departed is closed in any
// case: after an error the node serves nobody any more, may be out or not, and its next start shows which. Any goroutine.
func (g *Group) Leave(ctx context.Context) error {
	g.leaving.Store(true)
	g.gossip.poke()
	if _, err := g.administer(ctx, administration{Do: doLeave, Server: g.self}); err != nil {
		g.leaving.Store(false)
		g.departOnce.Do(func() { close(g.departed) })
		return err
	}
	return g.depart(DepartedLeft)
}

// resolve finds the server id of a member by its name or server id.
func (g *Group) resolve(nameOrID string) (string, error) {
	found := ""
	for _, m := range g.Members() {
		switch {
		case m.Server == nameOrID:
			return m.Server, nil
		case m.Name == nameOrID && found != "":
			return "", fmt.Errorf("%w: %s and %s are called %s", ErrAmbiguous, found, m.Server, nameOrID)
		case m.Name == nameOrID:
			found = m.Server
		}
	}
	if found == "" {
		return "", fmt.Errorf("%w: %q", ErrUnknown, nameOrID)
	}
	return found, nil
}

// administer has the leader decide, whoever that is in the end: every order may be given twice, so one whose answer was lost with its leader is given to the
// next. At most administerBound.
func (g *Group) administer(ctx context.Context, a administration) (administered, error) {
	ctx, cancel := context.WithTimeout(ctx, administerBound)
	defer cancel()
	began := time.Now()
	for {
		l, changed := g.Leadership()
		answer, err := g.askLeader(ctx, l, a)
		if err == nil || !passing(err, time.Since(began)) || ctx.Err() != nil {
			return answer, err
		}
		again := time.NewTimer(administerAgain)
		select {
		case <-changed:
		case <-again.C:
		case <-ctx.Done():
		case <-g.ctx.Done():
			again.Stop()
			return answer, ErrClosed
		}
		again.Stop()
	}
}

// passing says that the same order may succeed in a moment, at another leader or at the same one. What a leader finds impossible for now it is asked again for
// notNowPatience.
func passing(err error, waited time.Duration) bool {
	switch {
	case errors.Is(err, ErrNotNow):
		return waited < notNowPatience
	case errors.Is(err, ErrNoLeader), errors.Is(err, ErrNotLeader):
		return true
	}
	refused := errors.As(err, &answeredError{}) // also by a leader of a version that does not know the order
	for _, known := range administerErrors {
		refused = refused || errors.Is(err, known)
	}
	return !refused // the connection failed
}

func (g *Group) askLeader(ctx context.Context, l Leadership, a administration) (administered, error) {
	switch {
	case l.Self:
		standing, err := g.decide(ctx, g.self, a)
		return administered{Standing: standing}, err
	case l.Server == "" || l.Server == g.self:
		return administered{}, ErrNoLeader
	}
	return g.askServer(ctx, l.Server, a)
}

func (g *Group) askServer(ctx context.Context, server string, a administration) (administered, error) {
	request, err := json.Marshal(a)
	if err != nil {
		return administered{}, err
	}
	raw, err := g.call(ctx, server, callAdminister, request)
	if err != nil {
		return administered{}, fmt.Errorf("asking %s: %w", server, err)
	}
	var answer administered
	if err := json.Unmarshal(raw, &answer); err != nil {
		return answer, fmt.Errorf("answer of %s: %w", server, err)
	}
	return answer, answer.err()
}

func (a administered) err() error {
	if a.Text == "" {
		return nil
	}
	if err := administerErrors[a.Code]; err != nil {
		return administerError{err, a.Text}
	}
	return answeredError{a.Text}
}

// administerError is an error of the leader's, in its words.
type administerError struct {
	kind error
	text string
}

func (e administerError) Error() string { return e.text }
func (e administerError) Unwrap() error { return e.kind }

// serveAdminister answers a call of another node.
func (g *Group) serveAdminister(ctx context.Context, from string, request []byte) ([]byte, error) {
	var a administration
	if err := json.Unmarshal(request, &a); err != nil {
		return nil, err
	}
	if a.Do == doPosition {
		return json.Marshal(administered{Applied: g.instance().raft.AppliedIndex(), Voted: g.voted()})
	}
	standing, err := g.decide(ctx, from, a)
	answer := administered{Standing: standing}
	if err != nil {
		answer.Text = err.Error()
		for code, known := range administerErrors {
			if errors.Is(err, known) {
				answer.Code = code
			}
		}
	}
	return json.Marshal(answer)
}

// decide is the leader's part. ErrNotLeader where this node does not lead, or did not to the end.
func (g *Group) decide(ctx context.Context, from string, a administration) (standing, error) {
	if (a.Do == doLeave || a.Do == doStanding) && from != a.Server {
		return "", answeredError{fmt.Sprintf("%s asks in the name of %s", from, a.Server)}
	}
	r := g.readyReign()
	if r == nil {
		return "", ErrNotLeader
	}
	if a.Name != "" {
		var err error
		if a.Server, err = g.resolve(a.Name); err != nil {
			return "", err
		}
	}
	switch a.Do {
	case doTransfer:
		return "", r.transfer(ctx, a.Server)
	case doRemove:
		return "", r.remove(ctx, a.Server, removal{force: a.Force})
	case doLeave:
		return "", r.remove(ctx, a.Server, removal{leaving: true})
	case doMayLeave:
		return "", r.mayRemove(a.Server, removal{leaving: true})
	case doStanding:
		return r.standing(a.Server, a.Voted)
	}
	return "", answeredError{fmt.Sprintf("unknown order %q", a.Do)}
}

// transfer hands leadership over; "" to any voter.
func (r *reign) transfer(ctx context.Context, server string) error {
	if server == r.g.self {
		return nil
	}
	if server == "" {
		return notNow(r.g.TransferLeadership(ctx))
	}
	for _, s := range r.servers() {
		if string(s.ID) != server {
			continue
		}
		if s.Suffrage != raft.Voter {
			return fmt.Errorf("%w: %s", ErrNotVoter, server)
		}
		if !r.alive(server) {
			return fmt.Errorf("%w: %s was not heard of lately", ErrNotNow, server)
		}
		return notNow(r.g.handOver(ctx, func(x *raft.Raft) raft.Future { return x.LeadershipTransferToServer(s.ID, s.Address) }))
	}
	return fmt.Errorf("%w: %s", ErrUnknown, server)
}

func notNow(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %v", ErrNotNow, err)
}
