package system

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/testing/harness"
)

// TestSmoke goes through what the README shows: `triagemq dev` with three nodes, publish on one, consume on another, kill the leader, start it again,
// Ctrl-C.
func TestSmoke(t *testing.T) {
	bin, dir, base := harness.Binary(t), t.TempDir(), basePorts(t)
	cmd := exec.Command(bin, "dev", "--data-dir", dir, "--amqp-port", fmt.Sprint(base), "--http-port", fmt.Sprint(base+3), "--peer-port", fmt.Sprint(base+6), "--gossip-port", fmt.Sprint(base+9))
	out := must(cmd.StdoutPipe())(t)
	cmd.Stderr = os.Stderr
	check(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait() })
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "Ctrl-C") {
		t.Log(lines.Text())
	}
	var nodes []*harness.Node
	for k := range 3 {
		nodes = append(nodes, &harness.Node{Name: fmt.Sprintf("n%d", k+1), AMQP: loopback(base + k), HTTP: loopback(base + 3 + k)})
	}
	in := channel(t, nodes[0])
	check(t, in.Confirm(false))
	must(in.QueueDeclare("hello", true, false, false, false, nil))(t)
	deliveries := must(channel(t, nodes[2]).Consume("hello", "", false, false, false, false, nil))(t)
	confirmed(t, in, "hello", amqp.Publishing{MessageId: "1", Body: []byte("hello")})
	check(t, next(t, deliveries).Ack(false))

	leader := killDevLeader(t, dir, nodes)
	survivor := channel(t, nodes[(leader+1)%3])
	check(t, survivor.Confirm(false))
	confirmed(t, survivor, "hello", amqp.Publishing{MessageId: "2"})
	if msg, err := exec.Command(bin, "dev", "start-node", nodes[leader].Name, "--data-dir", dir).CombinedOutput(); err != nil {
		t.Fatalf("start-node: %v\n%s", err, msg)
	}
	check(t, harness.Poll(within(t, 30*time.Second), func() error {
		st, err := nodes[leader].Status(t.Context())
		if err != nil || st.Leader == "" || len(st.Nodes) != 3 {
			return fmt.Errorf("%s: %+v %v", nodes[leader].Name, st, err)
		}
		return nil
	}))
	check(t, cmd.Process.Signal(syscall.SIGINT))
	check(t, cmd.Wait())
	for _, n := range nodes {
		if conn, err := net.Dial("tcp", n.AMQP); err == nil {
			conn.Close()
			t.Errorf("%s still listens after dev has stopped", n.Name)
		}
	}
}

// killDevLeader ends the leader's process by its pid file and returns its number.
func killDevLeader(t *testing.T, dir string, nodes []*harness.Node) int {
	st := must(nodes[0].Status(t.Context()))(t)
	for k, n := range nodes {
		if n.Name != st.Leader {
			continue
		}
		check(t, syscall.Kill(pidOf(t, dir, n.Name), syscall.SIGKILL))
		return k
	}
	t.Fatalf("no leader in %+v", st)
	return 0
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// basePorts finds twelve free ports in a row.
func basePorts(t *testing.T) int {
	for base := 21000; base < 30000; base += 12 {
		free := true
		for p := base; p < base+12 && free; p++ {
			l, err := net.Listen("tcp", loopback(p))
			if free = err == nil; free {
				l.Close()
			}
		}
		if free {
			return base
		}
	}
	t.Fatal("no twelve free ports in a row")
	return 0
}
