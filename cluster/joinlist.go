package cluster

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// joinList is --join: where this node looks for others. A name is resolved anew at each attempt, to all of its addresses: in Kubernetes the addresses behind a name
// are other ones after each restart. Used by one goroutine.
type joinList struct {
	entries []string // host:port
	lookup  func(ctx context.Context, network, host string) ([]netip.Addr, error)
	strange map[string]time.Time // addresses that answered and are no member's: when they did last
}

const (
	lookupBound  = 2 * time.Second
	strangeAgain = time.Minute // an address that stands for several nodes, as a balancer's, is asked again after it
)

func newJoinList(entries []string) *joinList {
	return &joinList{entries: entries, lookup: net.DefaultResolver.LookupNetIP, strange: map[string]time.Time{}}
}

// addresses are those behind the entries now, of the family of own, which is what gossip can dial; names that do not resolve are failed.
func (j *joinList) addresses(ctx context.Context, own string) (addrs []string, failed map[string]error) {
	network := "ip"
	if a, err := netip.ParseAddrPort(own); err == nil && a.Addr().Unmap().Is4() {
		network = "ip4"
	}
	failed = map[string]error{}
	for _, entry := range j.entries {
		found, err := j.resolve(ctx, network, entry)
		if err != nil {
			failed[entry] = err
		}
		addrs = append(addrs, found...)
	}
	return addrs, failed
}

func (j *joinList) resolve(ctx context.Context, network, entry string) (addrs []string, err error) {
	host, service, err := net.SplitHostPort(entry)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil {
		return nil, err
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return []string{gossipAddress(a, port)}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupBound)
	defer cancel()
	found, err := j.lookup(ctx, network, host)
	for _, a := range found {
		addrs = append(addrs, gossipAddress(a, port))
	}
	return addrs, err
}

// gossipAddress is an address as memberlist writes it.
func gossipAddress(a netip.Addr, port int) string {
	return net.JoinHostPort(a.Unmap().String(), strconv.Itoa(port))
}

// due tells whether an address that no live member has should be contacted: always where it is a member's that is not heard of, and else until it has answered,
// and once in a while after that.
func (j *joinList) due(addr string, members bool) bool {
	at, answered := j.strange[addr]
	return members || !answered || time.Since(at) >= strangeAgain
}

// answered notes that an address was contacted with success.
func (j *joinList) answered(addr string) {
	if len(j.strange) >= membersMax {
		clear(j.strange)
	}
	j.strange[addr] = time.Now()
}
