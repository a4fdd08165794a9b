package harness

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Network is a bridge with one network namespace a host, made and removed by a test. It needs root and iproute2.
type Network struct {
	Hosts []Host
	name  string
}

// NewNetwork makes hosts 10.77.0.1 … on a bridge that this process reaches as 10.77.0.254. The test removes it.
func NewNetwork(t testing.TB, hosts int) *Network {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: network namespaces")
	}
	w := &Network{name: fmt.Sprintf("tmq%d", os.Getpid()%10000)}
	t.Cleanup(w.remove)
	w.ip(t, "link add %s type bridge", w.name)
	w.ip(t, "addr add 10.77.0.254/24 dev %s", w.name)
	w.ip(t, "link set %s up", w.name)
	for k := 1; k <= hosts; k++ {
		ns, veth := w.ns(k), w.veth(k)
		w.ip(t, "netns add %s", ns)
		w.ip(t, "link add %s type veth peer name eth0 netns %s", veth, ns)
		w.ip(t, "link set %s master %s up", veth, w.name)
		w.ip(t, "-n %s addr add 10.77.0.%d/24 dev eth0", ns, k)
		w.ip(t, "-n %s link set eth0 up", ns)
		w.ip(t, "-n %s link set lo up", ns)
		w.Hosts = append(w.Hosts, Host{IP: fmt.Sprintf("10.77.0.%d", k), Run: []string{"ip", "netns", "exec", ns}})
	}
	return w
}

func (w *Network) ns(k int) string   { return fmt.Sprintf("%s-%d", w.name, k) }
func (w *Network) veth(k int) string { return fmt.Sprintf("%sv%d", w.name, k) }

// Cut unplugs host k (from 0): packets to and from it vanish. Plug ends that.
func (w *Network) Cut(t testing.TB, k int) { w.ip(t, "link set %s down", w.veth(k+1)) }

// Plug reconnects host k.
func (w *Network) Plug(t testing.TB, k int) { w.ip(t, "link set %s up", w.veth(k+1)) }

// Mute makes packets of host from (from 0) to host to vanish, in this direction only and without an error at the sender: it is given a hardware address for the other
// that nobody has. Unmute ends that.
func (w *Network) Mute(t testing.TB, from, to int) {
	w.ip(t, "-n %s neigh replace %s lladdr 02:00:00:00:00:99 nud permanent dev eth0", w.ns(from+1), w.Hosts[to].IP)
}

// Unmute lets packets of host from to host to through again.
func (w *Network) Unmute(t testing.TB, from, to int) {
	w.ip(t, "-n %s neigh del %s dev eth0", w.ns(from+1), w.Hosts[to].IP)
}

// Refuse makes host at (from 0) refuse everything that it sends to host of, as a firewall that rejects would: it takes that address for one of its own, where
// nothing listens, and drops what comes from there. Accept ends that.
func (w *Network) Refuse(t testing.TB, at, of int) {
	if out, err := w.Inside(at, "sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.arp_announce=2").CombinedOutput(); err != nil {
		t.Fatalf("sysctl: %v\n%s", err, out) // or it would tell all others that the address is its own
	}
	w.ip(t, "-n %s addr add %s/32 dev lo", w.ns(at+1), w.Hosts[of].IP)
}

// Accept lets host at reach host of again.
func (w *Network) Accept(t testing.TB, at, of int) {
	w.ip(t, "-n %s addr del %s/32 dev lo", w.ns(at+1), w.Hosts[of].IP)
}

// Inside returns what runs a command on host k.
func (w *Network) Inside(k int, command ...string) *exec.Cmd {
	args := append(w.Hosts[k].Run, command...)
	return exec.Command(args[0], args[1:]...)
}

func (w *Network) ip(t testing.TB, format string, a ...any) {
	t.Helper()
	args := strings.Fields(fmt.Sprintf(format, a...))
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (w *Network) remove() {
	for k := range len(w.Hosts) {
		exec.Command("ip", "netns", "del", w.ns(k+1)).Run()
		exec.Command("ip", "link", "del", w.veth(k+1)).Run()
	}
	exec.Command("ip", "link", "del", w.name).Run()
}
