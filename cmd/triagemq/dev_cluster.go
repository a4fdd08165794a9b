package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// devCluster is dev.json: what start-node needs to start a node as dev did.
type devCluster struct {
	Dir    string    `json:"dir"`
	Binary string    `json:"binary"`
	Nodes  []devNode `json:"nodes"`
}

type devNode struct {
	Name string   `json:"name"`
	Dir  string   `json:"dir"`
	AMQP string   `json:"amqp"`
	HTTP string   `json:"http"`
	Args []string `json:"args"`
}

func (p *devCluster) save() error {
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		return err
	}
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.Dir, "dev.json"), append(b, '\n'), 0o600)
}

func loadDev(dir string) (*devCluster, error) {
	b, err := os.ReadFile(filepath.Join(dir, "dev.json"))
	if err != nil {
		return nil, fmt.Errorf("%s is not the folder of a running triagemq dev: %w", dir, err)
	}
	p := &devCluster{}
	if err := json.Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("%s/dev.json: %w", dir, err)
	}
	return p, nil
}

func (n *devNode) pidFile() string { return filepath.Join(n.Dir, "triagemq.pid") }
func (n *devNode) logFile() string { return filepath.Join(n.Dir, "triagemq.log") }

// start runs the node as a process in a session of its own, so that a Ctrl-C in dev's terminal does not reach it, and writes its pid file. It ends when
// nobody holds lockFile any more; "" = it does not (endWithDev).
func (n *devNode) start(binary, lockFile string) error {
	if err := os.MkdirAll(n.Dir, 0o700); err != nil {
		return err
	}
	log, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(binary, n.Args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), devLockVariable+"="+lockFile)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", n.Name, err)
	}
	go cmd.Wait() // reaps it; dev learns of its death from running
	return os.WriteFile(n.pidFile(), fmt.Appendln(nil, cmd.Process.Pid), 0o600)
}

// running returns the process of the node if it is alive, whoever started it. A pid that now belongs to something else does not count.
func (n *devNode) running() (int, bool) {
	b, err := os.ReadFile(n.pidFile())
	if err != nil {
		return 0, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 0 {
		return 0, false
	}
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return pid, !errors.Is(err, os.ErrNotExist) && syscall.Kill(pid, 0) == nil
	}
	return pid, bytes.Contains(args, []byte("\x00"+n.Dir+"\x00"))
}

// awaitReady waits until every node serves clients.
func (p *devCluster) awaitReady(bound time.Duration, interrupted <-chan os.Signal) error {
	deadline := time.After(bound)
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		waiting := p.notReady()
		if waiting == nil {
			return nil
		}
		if _, ok := waiting.running(); !ok {
			return fmt.Errorf("%s ended while it started; the end of its log:\n%s", waiting.Name, waiting.logTail())
		}
		select {
		case <-poll.C:
		case <-interrupted:
			return errors.New("interrupted")
		case <-deadline:
			return fmt.Errorf("%s is not ready after %v; the end of its log:\n%s", waiting.Name, bound, waiting.logTail())
		}
	}
}

// notReady returns the first node that does not answer 200 on /readyz.
func (p *devCluster) notReady() *devNode {
	for i := range p.Nodes {
		if !p.Nodes[i].answers("/readyz") {
			return &p.Nodes[i]
		}
	}
	return nil
}

func (n *devNode) answers(path string) bool {
	c := http.Client{Timeout: 2 * time.Second}
	r, err := c.Get("http://" + n.HTTP + path)
	if err != nil {
		return false
	}
	r.Body.Close()
	return r.StatusCode == http.StatusOK
}

// awaitAlive waits until a node that start started answers /healthz.
func (n *devNode) awaitAlive(bound time.Duration) error {
	deadline := time.Now().Add(bound)
	for time.Now().Before(deadline) {
		if n.answers("/healthz") {
			return nil
		}
		if _, ok := n.running(); !ok {
			return fmt.Errorf("%s ended while it started; the end of its log:\n%s", n.Name, n.logTail())
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("%s does not answer after %v; see %s", n.Name, bound, n.logFile())
}

func (n *devNode) logTail() string {
	b, _ := os.ReadFile(n.logFile())
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// stop ends every node that runs, those that start-node started too: SIGTERM to all, then SIGKILL to what is left.
func (p *devCluster) stop() {
	for _, n := range p.Nodes {
		if pid, ok := n.running(); ok {
			syscall.Kill(pid, syscall.SIGTERM)
		}
	}
	deadline := time.Now().Add(stopBound + 2*time.Second)
	for _, n := range p.Nodes {
		for {
			pid, ok := n.running()
			if !ok {
				break
			}
			if time.Now().After(deadline) {
				syscall.Kill(pid, syscall.SIGKILL)
			}
			time.Sleep(20 * time.Millisecond)
		}
		os.Remove(n.pidFile())
	}
}
