package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// A follower of hashicorp/raft waits for its heartbeat time-out before it stands for election, half a second to a second. Where the leader's process has ended
// that is waste: its kernel says so at once, to everybody who asks. So:
//
//	the last connection that raft accepted from the leader ends
//	  └─▶ dial its peer port: REFUSED, or it answers that it does not lead that term (it was restarted)
//	        └─▶ ask all other voters, each of which looks for itself: a majority of the voters agrees, the accused counting among them
//	              └─▶ the one with the most up-to-date log (lowest id of equal ones) hands itself a TimeoutNow
//
// TimeoutNow skips pre-vote and makes voters ignore a leader that lives, so a wrong finding would depose a healthy leader. What keeps it right:
//   - Silence proves nothing: a host that does not answer, a time-out, a broken connection are left to raft's time-outs.
//   - Whoever still has a connection from the leader does not agree. A firewall that refuses new connections while old ones live deposes nobody; and when all
//     have ended, everything that the leader had sent was taken in, so the logs that are compared are final.
//   - A majority: a rule that refuses in front of one follower deposes nobody. Where a majority is refused and has lost its connections, the leader could not
//     have led on; should it live, it is left alone for longer each time (convictions).
//   - The boot number in a handshake is not asked: it is drawn after raft has started, and a process that lives draws new ones.
//
// Leader and term are checked again right before the TimeoutNow. Should another leader be elected within that moment, it has to win a second election.
const (
	drainWait     = 100 * time.Millisecond // for the last connections of a leader that another voter finds gone
	inquiryBound  = time.Second
	succeedTries  = 7
	succeedPause  = 10 * time.Millisecond // before the second try, doubled each time: about a second in all, then raft's time-outs have long passed
	identifyBound = 2 * time.Second
)

// failovers is what this node knows of leaders' processes.
type failovers struct {
	mu          sync.Mutex // guards what follows
	nonces      map[string]uint64
	convictions convictions
	acted       charge // for which this node has stood
}

// suspect tells that a server's last connection has ended, or that another node asks about it. It does not block.
func (g *Group) suspect(server string) {
	select {
	case g.suspects <- server:
	default: // that many are being looked at; raft's time-outs remain
	}
}

// watchLeader looks after suspicions against the present leader, and learns which process it is.
func (g *Group) watchLeader() {
	var known charge
	for {
		l, changed := g.Leadership()
		if now := (charge{l.Server, l.Term}); now != known && l.Server != "" && l.Server != g.self {
			known = now
			g.wg.Go(func() { g.identify(now) })
		}
		select {
		case server := <-g.suspects:
			if server == l.Server && server != g.self {
				g.succeed(charge{server, l.Term})
			}
		case <-changed:
		case <-g.ctx.Done():
			return
		}
	}
}

// identify learns the nonce of a leader.
func (g *Group) identify(c charge) {
	ctx, cancel := context.WithTimeout(g.ctx, identifyBound)
	defer cancel()
	t, err := g.ask(ctx, c.leader, question{what: askPresence, term: c.term, server: c.leader})
	g.failovers.mu.Lock()
	defer g.failovers.mu.Unlock()
	if err != nil {
		delete(g.failovers.nonces, c.leader) // of another version, perhaps: it is taken for the one that is on record
		return
	}
	if len(g.failovers.nonces) >= membersMax {
		clear(g.failovers.nonces)
	}
	g.failovers.nonces[c.leader] = t.nonce
}

// succeed stands for election at once if the leader's process is gone, a majority agrees and this node is the one to do it. The others may see it a moment
// later, or the one that should act may not: so it tries a few times.
func (g *Group) succeed(c charge) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for try := range succeedTries {
		select {
		case <-pause.C:
		case <-g.ctx.Done():
			return
		}
		in := g.instance()
		if !in.follows(c) || in.layer.accepted(c.leader) > 0 || g.acted(c) {
			return // the end of the last connection is a suspicion of its own
		}
		if g.inquire(c) == findSelf && g.stand(in, c) {
			return
		}
		pause.Reset(succeedPause << try)
	}
}

func (g *Group) inquire(c charge) finding {
	ctx, cancel := context.WithTimeout(g.ctx, inquiryBound)
	defer cancel()
	q := inquiry{
		charge: c, self: g.self, voters: g.voters(),
		testify: func(ctx context.Context) testimony { return g.testify(ctx, c) },
		ask: func(ctx context.Context, voter string) (testimony, error) {
			return g.ask(ctx, voter, question{what: askLeader, term: c.term, server: c.leader})
		},
	}
	return q.run(ctx)
}

// stand checks again and hands raft the TimeoutNow.
func (g *Group) stand(in *instance, c charge) bool {
	leader, term, _ := in.leadership()
	if in != g.instance() || in.raft.State() != raft.Follower || leader != c.leader || term != c.term || in.layer.accepted(c.leader) > 0 || !g.isVoter() {
		return false
	}
	g.failovers.mu.Lock()
	g.failovers.acted = c
	g.failovers.mu.Unlock()
	ctx, cancel := context.WithTimeout(g.ctx, inquiryBound)
	defer cancel()
	if err := in.transport.InjectTimeoutNow(ctx); err != nil {
		g.log.Debug("not standing for election", "error", err)
		return true
	}
	g.log.Info("the leader's process is gone and a majority agrees: standing for election at once", "leader", c.leader, "term", c.term)
	return true
}

func (g *Group) acted(c charge) bool {
	g.failovers.mu.Lock()
	defer g.failovers.mu.Unlock()
	return g.failovers.acted == c
}

// testify is this node's word on a charge. The end of its log is read after the last connection from the leader has ended: nothing comes from there any more.
func (g *Group) testify(ctx context.Context, c charge) testimony {
	return g.testimony(g.agrees(ctx, c))
}

func (g *Group) agrees(ctx context.Context, c charge) bool {
	in := g.instance()
	if c.leader == g.self || !in.follows(c) || !g.isVoter() || !g.mayConvict(c) || !in.layer.awaitNone(ctx, c.leader, drainWait) || !g.isOver(ctx, c) {
		return false
	}
	f := &g.failovers
	f.mu.Lock()
	defer f.mu.Unlock()
	f.convictions.note(c, f.nonces[c.leader], time.Now())
	return true
}

func (g *Group) mayConvict(c charge) bool {
	f := &g.failovers
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.convictions.allows(c, f.nonces[c.leader], time.Now())
}

// isOver looks whether the process that leads a term has ended. One that answers may be a new one: what led a term once and does not any more never will again.
func (g *Group) isOver(ctx context.Context, c charge) bool {
	switch g.look(ctx, c.leader) {
	case sightGone:
		return true
	case sightThere:
		ctx, cancel := context.WithTimeout(ctx, lookBound)
		defer cancel()
		t, err := g.ask(ctx, c.leader, question{what: askPresence, term: c.term, server: c.leader})
		return err == nil && !t.yes
	}
	return false
}

// follows tells whether this node is a follower in the term of the charge, of that leader or, because it has just missed its heartbeats, of nobody.
func (in *instance) follows(c charge) bool {
	leader, term, leads := in.leadership()
	return term == c.term && !leads && (leader == c.leader || leader == "")
}

// Gone reports whether a majority of the voters, this node among them, finds by looking, from the call on, that the process of a server has ended: its host
// refuses, nothing listens at its peer port. A node whose stream to this leader is open is not gone. ctx bounds the wait for hosts that are silent.
func (g *Group) Gone(ctx context.Context, server string) bool {
	if server == g.self || g.streams(server) || g.look(ctx, server) != sightGone {
		return false
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	voters, yes, open := g.voters(), 0, 0
	answers := make(chan bool, len(voters))
	for _, v := range voters {
		switch v {
		case g.self:
			yes++
		case server: // counts, and gives no answer
		default:
			open++
			go func() {
				t, err := g.ask(ctx, v, question{what: askOrigin, server: server})
				answers <- err == nil && t.yes
			}()
		}
	}
	for ; open > 0; open-- { // all are joined
		if <-answers {
			yes++
		}
		if 2*yes > len(voters) {
			cancel()
		}
	}
	return 2*yes > len(voters) && !g.streams(server)
}

// streams tells whether this node leads and has an open stream from a server.
func (g *Group) streams(server string) bool {
	g.mu.Lock()
	r := g.reign
	g.mu.Unlock()
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.intakes[server] != nil
}

// voters are the ids of the latest configuration's.
func (g *Group) voters() (ids []string) {
	for _, s := range g.configuration() {
		if s.Suffrage == raft.Voter {
			ids = append(ids, string(s.ID))
		}
	}
	return ids
}

func (g *Group) isVoter() bool {
	for _, id := range g.voters() {
		if id == g.self {
			return true
		}
	}
	return false
}
