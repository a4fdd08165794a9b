package system

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/triagemq/triagemq/testing/certs"
	"github.com/triagemq/triagemq/testing/harness"
)

// nodeFiles lays out the secret and the certificates of each node in a folder of its own.
type nodeFiles struct {
	dir string
}

func (f nodeFiles) of(node string) string     { return filepath.Join(f.dir, node) }
func (f nodeFiles) secret(node string) string { return filepath.Join(f.of(node), "secret") }

// args are the flags of a node; certified adds those of its certificates.
func (f nodeFiles) args(node string, certified bool) []string {
	args := []string{"--cluster-secret-file", f.secret(node)}
	if certified {
		args = append(args, "--peer-tls-cert", filepath.Join(f.of(node), "cert.pem"), "--peer-tls-key", filepath.Join(f.of(node), "key.pem"),
			"--peer-tls-ca", filepath.Join(f.of(node), "ca.pem"), "--peer-tls-name", "node")
	}
	return args
}

// writeSecrets replaces a node's secret file as a whole.
func (f nodeFiles) writeSecrets(t *testing.T, node, lines string) {
	t.Helper()
	check(t, os.MkdirAll(f.of(node), 0o700))
	check(t, os.WriteFile(f.secret(node)+".new", []byte(lines), 0o600))
	check(t, os.Rename(f.secret(node)+".new", f.secret(node)))
}

// TestPeerCertificates runs a cluster whose nodes demand certificates and the secret of each other through the loss of its leader.
func TestPeerCertificates(t *testing.T) {
	files, authority := nodeFiles{t.TempDir()}, certs.New(t)
	for _, name := range []string{"n1", "n2", "n3"} {
		files.writeSecrets(t, name, "a secret of this test\n")
		authority.Files(files.of(name), certs.Template{})
	}
	c := harness.StartConfig(t, harness.Config{Nodes: 3, ArgsOf: func(name string) []string { return files.args(name, true) }})
	load := must(harness.StartLoad(t.Context(), harness.LoadConfig{Queue: "work", Publishers: c.Nodes, Consumers: c.Nodes, Pause: time.Millisecond}))(t)
	progress(t, load, 300)
	leader := must(c.AwaitLeader(within(t, 30*time.Second)))(t)
	leader.Kill()
	must(c.AwaitLeader(within(t, 30*time.Second), leader))(t)
	progress(t, load, 300)
	check(t, leader.Start())
	check(t, c.AwaitReady(within(t, 30*time.Second), leader))
	load.StopPublishing()
	check(t, load.Drain(within(t, 60*time.Second)))
	check(t, c.AwaitEqualDigests(within(t, 30*time.Second)))
	for _, d := range load.Ledger.Ended() {
		if d.Node != leader.Name {
			t.Errorf("a connection to %s ended", d.Node)
		}
	}
	judge(t, load)
}
