package skew

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is also the program that runs under the clock: for each line that it reads it prints what it sees, wall and monotonic time in milliseconds.
const asProgram = "SKEW_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		os.Exit(m.Run())
	}
	began := time.Now()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(time.Now().UnixMilli(), time.Since(began).Milliseconds())
	}
	os.Exit(7)
}

func skewed(t *testing.T) string {
	t.Helper()
	bin, err := Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(bin, t.TempDir()); err != nil {
		t.Skipf("this kernel gives no process a clock of its own: %v", err)
	}
	return bin
}

// TestClock jumps a running program's wall clock about; its monotonic clock, and this process's wall clock, must not notice.
func TestClock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	clock, err := OpenClock(path)
	if err != nil {
		t.Fatal(err)
	}
	defer clock.Close()
	p := launch(t, skewed(t), path)
	began := time.Now()
	for _, ahead := range []time.Duration{0, 73 * 365 * 24 * time.Hour, -30 * 365 * 24 * time.Hour, time.Second, 0} {
		clock.SetAhead(ahead)
		wall, elapsed := p.ask(t)
		if off := wall.Sub(time.Now().Add(ahead)); off.Abs() > 500*time.Millisecond {
			t.Errorf("ahead by %v: the program's clock is %v off", ahead, off)
		}
		if elapsed < 0 || elapsed > time.Since(began)+time.Minute {
			t.Errorf("ahead by %v: %v passed on the program's monotonic clock", ahead, elapsed)
		}
	}
	when := time.Date(2099, 12, 31, 23, 59, 59, 0, time.UTC)
	clock.JumpTo(when)
	if wall, _ := p.ask(t); wall.Sub(when).Abs() > 500*time.Millisecond {
		t.Errorf("after a jump to %v it is %v", when, wall)
	}
	p.stdin.Close()
	var exit *exec.ExitError
	if err := p.cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("ended with %v, want the program's status 7", err)
	}
}

// TestDeath kills the supervisor; the program must not outlive it.
func TestDeath(t *testing.T) {
	p := launch(t, skewed(t), filepath.Join(t.TempDir(), "clock"))
	p.ask(t)
	if err := p.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(p.stdout); err != nil || len(rest) > 0 { // ends when nobody can write any more
		t.Errorf("read %q, %v", rest, err)
	}
	_ = p.cmd.Wait() // killed
}

// TestSignals hands SIGTERM on to the program.
func TestSignals(t *testing.T) {
	p := launch(t, skewed(t), filepath.Join(t.TempDir(), "clock"))
	p.ask(t)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := p.cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 128+int(syscall.SIGTERM) {
		t.Errorf("ended with %v, want status 143", err)
	}
}

type program struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

func launch(t *testing.T, command, clockFile string) *program {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{cmd: exec.Command(command, clockFile, self)}
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	p.cmd.Stderr = os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	return p
}

func (p *program) ask(t *testing.T) (wall time.Time, elapsed time.Duration) {
	t.Helper()
	if _, err := io.WriteString(p.stdin, "?\n"); err != nil {
		t.Fatal(err)
	}
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	w, e, _ := strings.Cut(strings.TrimSpace(line), " ")
	wallMillis, err1 := strconv.ParseInt(w, 10, 64)
	elapsedMillis, err2 := strconv.ParseInt(e, 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return time.UnixMilli(wallMillis), time.Duration(elapsedMillis) * time.Millisecond
}
