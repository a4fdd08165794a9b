// Command demo plays the sign-up story against a real cluster: a web application publishes events with confirms, pools of workers handle them, one kind
// of work fails and is retried and dead-lettered, and in the middle the leader is killed and started again. At the end every event is accounted for in
// every queue; the exit status is not zero if a single one is missing.
//
// It starts three nodes of its own on free ports with a temporary folder. Start reading at play.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/triagemq/triagemq/testing/harness"
)

func main() {
	events := flag.Int("events", 10_000, "`number` of user.signed_up events")
	binary := flag.String("binary", "bin/triagemq", "the triagemq `binary`")
	lose := flag.String("lose", "", "`queue` of which a worker forgets one event: the demo must then fail")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := demo(ctx, *binary, *events, *lose); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1)
	}
}

func demo(ctx context.Context, binary string, events int, lose string) error {
	if events < 100 {
		return errors.New("--events: want at least 100")
	}
	if isQueue := slices.ContainsFunc(queues[:], func(q queueSpec) bool { return q.name == lose }); lose != "" && !isQueue {
		return fmt.Errorf("--lose: there is no queue %q", lose)
	}
	dir, err := os.MkdirTemp("", "triagemq-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cluster, err := harness.Open(harness.Config{Binary: binary, Dir: dir, Nodes: 3})
	if err != nil {
		return err
	}
	defer cluster.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if err := cluster.AwaitReady(ctx); err != nil {
		return err
	}
	for _, n := range cluster.Nodes {
		fmt.Printf("%s serves AMQP on %s\n", n.Name, n.AMQP)
	}
	s := newStory(events)
	s.lose = lose
	return play(ctx, cluster, s)
}

// play runs the story and judges it.
func play(ctx context.Context, cluster *harness.Cluster, s *story) error {
	if err := s.declare(cluster.Nodes[0]); err != nil {
		return err
	}
	work, endWork := context.WithCancel(ctx)
	defer endWork()
	pools := startWorkers(work, cluster, s)
	began := time.Now()
	published := make(chan error, 1)
	p := &publisher{nodes: cluster.Nodes, story: s}
	go func() { published <- p.run(ctx) }()
	failover, err := killTheLeader(ctx, cluster, s, published)
	if err != nil {
		return err
	}
	fmt.Printf("published %d events, all confirmed, in %.1f s; longest wait between two confirms %v\n", len(s.events), time.Since(began).Seconds(), s.gap().Round(time.Millisecond))
	s.awaitAccounted(ctx)
	endWork()
	pools.Wait()
	digests := cluster.AwaitEqualDigests(ctx)
	s.print(os.Stdout)
	fmt.Println(failover)
	if err := errors.Join(digests, s.verdict()); err != nil {
		return err
	}
	fmt.Println("all three nodes hold the same state (equal digests); every event is accounted for in every queue")
	return nil
}

// killTheLeader waits until half of the events are confirmed, kills the leader, starts it again 2 s later and waits for the publisher.
func killTheLeader(ctx context.Context, cluster *harness.Cluster, s *story, published <-chan error) (string, error) {
	half := func() error {
		if n := s.confirmedCount(); n < len(s.events)/2 {
			return fmt.Errorf("%d confirmed", n)
		}
		return nil
	}
	if err := harness.Poll(ctx, half); err != nil {
		return "", err
	}
	leader, err := cluster.AwaitLeader(ctx)
	if err != nil {
		return "", err
	}
	fmt.Printf("%d events confirmed: kill -9 of %s, the leader\n", s.confirmedCount(), leader.Name)
	leader.Kill()
	next, err := cluster.AwaitLeader(ctx, leader)
	if err != nil {
		return "", err
	}
	fmt.Printf("%s leads now\n", next.Name)
	select {
	case <-time.After(2 * time.Second):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if err := leader.Start(); err != nil {
		return "", err
	}
	if err := <-published; err != nil {
		return "", fmt.Errorf("publisher: %w", err)
	}
	if err := cluster.AwaitReady(ctx, leader); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s was killed as leader, %s took over, %s is back", leader.Name, next.Name, leader.Name), nil
}
