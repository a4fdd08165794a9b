package skew

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Build compiles the skewed command into dir and returns the binary's path.
func Build(dir string) (string, error) {
	bin := filepath.Join(dir, "skewed")
	if out, err := exec.Command("go", "build", "-o", bin, "github.com/triagemq/triagemq/testing/skew/skewed").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
}

// Check has the binary print the time under a clock that is an hour ahead, and tells why that does not work on this machine.
func Check(binary, dir string) error {
	path := filepath.Join(dir, "check.clock")
	clock, err := OpenClock(path)
	if err != nil {
		return err
	}
	defer clock.Close()
	clock.SetAhead(time.Hour)
	out, err := exec.Command(binary, path, binary, "now").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	millis, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		return err
	}
	if off := time.Until(time.UnixMilli(millis)) - time.Hour; off.Abs() > time.Minute {
		return fmt.Errorf("%w: a clock an hour ahead is %v off", ErrRefused, off)
	}
	return nil
}
