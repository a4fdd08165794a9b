package node

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// TestOpenSecretsAreSaid warns of a secret that every user of the machine can read, and of no other.
func TestOpenSecretsAreSaid(t *testing.T) {
	for mode, warned := range map[os.FileMode]bool{0o600: false, 0o440: false, 0o644: true} {
		c := Default()
		c.ClusterSecretFile = filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(c.ClusterSecretFile, []byte("0123456789abcdef"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(c.ClusterSecretFile, mode); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		c.warnOfOpenFiles(hclog.New(&hclog.LoggerOptions{Output: &out}))
		if strings.Contains(out.String(), c.ClusterSecretFile) != warned {
			t.Errorf("mode %o: %q", mode, &out)
		}
	}
}
