package harness

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Node is one process of a Cluster. Its methods may be called by several goroutines.
type Node struct {
	Name, Dir                string
	DataDir                  string // Dir unless its Host says otherwise
	AMQP, HTTP, Peer, Gossip string // host:port
	Login                    string // user:password; "" is guest:guest
	command                  []string
	args                     []string

	mu     sync.Mutex // guards what follows
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has been waited for
	paused bool

	exitCode int // of the process that ended last
}

// URL is the AMQP address with the login.
func (n *Node) URL() string { return "amqp://" + cmp.Or(n.Login, "guest:guest") + "@" + n.AMQP + "/" }

// LogFile collects the output of every process of this node.
func (n *Node) LogFile() string { return filepath.Join(n.Dir, "triagemq.log") }

// Use names the program that the next Start runs.
func (n *Node) Use(binary string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.command = append(n.command[:len(n.command)-1:len(n.command)-1], binary)
}

// Start runs the node's process again with the same folder and addresses. It is an error while it runs.
func (n *Node) Start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		return fmt.Errorf("%s already runs", n.Name)
	}
	if err := os.MkdirAll(n.Dir, 0o700); err != nil {
		return err
	}
	log, err := os.OpenFile(n.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(n.command[0], append(n.command[1:len(n.command):len(n.command)], n.args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	n.cmd, n.exited, n.paused = cmd, exited, false
	go func() {
		cmd.Wait()
		n.mu.Lock()
		n.cmd, n.exitCode = nil, cmd.ProcessState.ExitCode()
		n.mu.Unlock()
		close(exited)
	}()
	return nil
}

// Running tells whether the process is there, paused or not.
func (n *Node) Running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cmd != nil
}

// Paused tells whether Pause stopped it.
func (n *Node) Paused() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.paused
}

// PID is the process id, 0 when none runs.
func (n *Node) PID() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return 0
	}
	return n.cmd.Process.Pid
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (n *Node) Kill() {
	if exited := n.signal(syscall.SIGKILL); exited != nil {
		<-exited
	}
}

// Pause stops the process with SIGSTOP; Resume lets it go on.
func (n *Node) Pause() {
	n.setPaused(true)
	n.signal(syscall.SIGSTOP)
}

// Resume ends a pause.
func (n *Node) Resume() {
	n.signal(syscall.SIGCONT)
	n.setPaused(false)
}

func (n *Node) setPaused(p bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.paused = p
}

// Terminate sends SIGTERM and waits for the orderly end.
func (n *Node) Terminate(ctx context.Context) error {
	n.signalTerm()
	return n.awaitExit(ctx)
}

func (n *Node) signalTerm() { n.signal(syscall.SIGTERM) }

func (n *Node) awaitExit(ctx context.Context) error {
	n.mu.Lock()
	exited := n.exited
	n.mu.Unlock()
	if exited == nil {
		return nil
	}
	select {
	case <-exited:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s does not end: %w", n.Name, ctx.Err())
	}
}

// AwaitExit waits until the process has ended, and returns its exit code; -1 where a signal ended it.
func (n *Node) AwaitExit(ctx context.Context) (code int, err error) {
	if err := n.awaitExit(ctx); err != nil {
		return 0, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.exitCode, nil
}

// signal returns the channel that closes when the process is gone, nil when none runs.
func (n *Node) signal(s syscall.Signal) <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return nil
	}
	n.cmd.Process.Signal(s)
	return n.exited
}

// LogTail returns the last lines of the node's log.
func (n *Node) LogTail(lines int) string {
	b, _ := os.ReadFile(n.LogFile())
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// CPU is the user and system time that the present process has used.
func (n *Node) CPU() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.PID()))
	if err != nil {
		return 0, err
	}
	_, after, ok := strings.Cut(string(b), ") ")
	f := strings.Fields(after)
	if !ok || len(f) < 13 {
		return 0, errors.New("unexpected /proc stat line")
	}
	var user, system int64
	if _, err := fmt.Sscan(f[11]+" "+f[12], &user, &system); err != nil {
		return 0, err
	}
	return time.Duration(user+system) * 10 * time.Millisecond, nil // USER_HZ is 100 on Linux
}

// ResidentBytes is the resident memory of the present process.
func (n *Node) ResidentBytes() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", n.PID()))
	if err != nil {
		return 0, err
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		return 0, err
	}
	return resident * int64(os.Getpagesize()), nil
}

// ForgetDisk kills the process and removes the data folder, as a machine that lost its disk.
func (n *Node) ForgetDisk() error {
	n.Kill()
	return os.RemoveAll(n.Dir)
}

// Post sends an order to the node's HTTP door and expects a status below 300.
func (n *Node) Post(ctx context.Context, path string, body any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+n.HTTP+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if user, password, ok := strings.Cut(cmp.Or(n.Login, "guest:guest"), ":"); ok {
		req.SetBasicAuth(user, password)
	}
	r, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err == nil && r.StatusCode >= 300 {
		err = fmt.Errorf("%s on %s: %s: %s", path, n.Name, r.Status, strings.TrimSpace(string(answer)))
	}
	return err
}

func (n *Node) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.HTTP+path, nil)
	if err != nil {
		return nil, err
	}
	if user, password, ok := strings.Cut(n.Login, ":"); ok {
		req.SetBasicAuth(user, password)
	}
	r, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s on %s: %s: %s", path, n.Name, r.Status, strings.TrimSpace(string(body)))
	}
	return body, err
}
