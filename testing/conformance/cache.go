package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// Cache is the folder, below the user's cache directory, that keeps what suites download, from one run to the next.
type Cache struct {
	Dir     string
	refresh func(context.Context) error // reads apt's lists anew, once
}

// OpenCache makes the folder where it is not there.
func OpenCache() (*Cache, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	c := &Cache{Dir: filepath.Join(base, "triagemq-conformance")}
	var once sync.Once
	var failed error
	c.refresh = func(ctx context.Context) error {
		once.Do(func() { failed = command(ctx, "", "apt-get", "update", "-q") })
		return failed
	}
	return c, os.MkdirAll(c.Dir, 0o755)
}

// Prepare installs what a suite needs.
func (c *Cache) Prepare(ctx context.Context, s Suite) error {
	if err := c.debian(ctx, s.Debian); err != nil {
		return err
	}
	for _, name := range s.Unpacked {
		if err := c.unpack(ctx, name); err != nil {
			return err
		}
	}
	if s.Install == nil {
		return nil
	}
	return s.Install(ctx, c)
}

// Folder makes and returns a folder of the cache.
func (c *Cache) Folder(name string) (string, error) {
	dir := filepath.Join(c.Dir, name)
	return dir, os.MkdirAll(dir, 0o755)
}

// Unpacked is where a Debian package of Suite.Unpacked lies.
func (c *Cache) Unpacked(name string) string { return filepath.Join(c.Dir, "debian", name) }

// DebianVersion is the installed version of a package.
func DebianVersion(name string) func(context.Context, *Cache) (string, error) {
	return func(ctx context.Context, _ *Cache) (string, error) {
		out, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${Version}", name).Output()
		return strings.TrimSpace(string(out)), err
	}
}

// debian installs those of the packages that are not there.
func (c *Cache) debian(ctx context.Context, names []string) error {
	var missing []string
	for _, name := range names {
		if out, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${db:Status-Status}", name).Output(); err != nil || string(out) != "installed" {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	install := append([]string{"apt-get", "install", "-q", "-y", "--no-install-recommends"}, missing...)
	if os.Geteuid() != 0 {
		return fmt.Errorf("missing Debian packages; as root: %s", strings.Join(install, " "))
	}
	return c.retried(ctx, "", install...)
}

// unpack downloads a package and unpacks it, without installing anything.
func (c *Cache) unpack(ctx context.Context, name string) error {
	to := c.Unpacked(name)
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	dir, err := os.MkdirTemp(c.Dir, "download-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o777); err != nil { // apt-get downloads as a user of its own
		return err
	}
	if err := c.retried(ctx, dir, "apt-get", "download", "-q", name); err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(dir, name+"_*.deb"))
	if err != nil || len(found) != 1 {
		return errors.Join(fmt.Errorf("apt-get download %s left %d packages", name, len(found)), err)
	}
	fresh := filepath.Join(dir, "unpacked")
	if err := command(ctx, dir, "dpkg", "-x", found[0], fresh); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	_, version, _ := strings.Cut(filepath.Base(found[0]), "_")
	version, _, _ = strings.Cut(version, "_")
	if err := os.WriteFile(to+".version", []byte(version), 0o644); err != nil {
		return err
	}
	return os.Rename(fresh, to)
}

// UnpackedVersion is the version of an unpacked package.
func UnpackedVersion(name string) func(context.Context, *Cache) (string, error) {
	return func(_ context.Context, c *Cache) (string, error) {
		version, err := os.ReadFile(c.Unpacked(name) + ".version")
		return string(version), err
	}
}

// retried runs a command of apt's; if it fails, once more with fresh lists.
func (c *Cache) retried(ctx context.Context, dir string, args ...string) error {
	first := command(ctx, dir, args...)
	if first == nil {
		return nil
	}
	if err := c.refresh(ctx); err != nil {
		return errors.Join(first, err)
	}
	return command(ctx, dir, args...)
}

// Command runs a program that installs something in a folder of the cache; an error has the end of what it printed.
func (c *Cache) Command(ctx context.Context, dir string, args ...string) error {
	return command(ctx, dir, args...)
}

func command(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, tail(string(out), 20))
	}
	return nil
}
