package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "t.toml")
	write(t, file, "node-id = \"file\"\ndata-dir = \"fromfile\"\nheartbeat-timeout = \"600ms\"\nelection-timeout = \"700ms\"\njoin = [\"a:1\", \"b:2\"]\nbootstrap-expect = 3\n")
	env := []string{"TRIAGEMQ_NODE_ID=env", "TRIAGEMQ_DATA_DIR=fromenv", "TRIAGEMQ_PORT=tcp://10.0.0.1:5672", "HOME=/"}
	c, err := Parse([]string{"--config", file, "--node-id", "flag"}, env)
	if err != nil {
		t.Fatal(err)
	}
	if c.NodeID != "flag" || c.DataDir != "fromenv" || c.HeartbeatTimeout != 600*time.Millisecond {
		t.Errorf("want flag over environment over file, got %q %q %v", c.NodeID, c.DataDir, c.HeartbeatTimeout)
	}
	if strings.Join(c.Join, " ") != "a:1 b:2" || c.BootstrapExpect != 3 {
		t.Errorf("join %v expect %d", c.Join, c.BootstrapExpect)
	}
}

func TestUnknownKeysAndFlagsAreErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "t.toml")
	write(t, file, "node-idd = \"x\"\nfoo = 1\n")
	_, err := Parse([]string{"--config", file}, nil)
	for _, want := range []string{`unknown key "node-idd"`, `unknown key "foo"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s in %v", want, err)
		}
	}
	if _, err := Parse([]string{"extra"}, nil); err == nil {
		t.Error("a stray argument was taken")
	}
}

func TestValidateReportsEverything(t *testing.T) {
	c := Default()
	c.NodeID, c.AMQPAddr, c.BootstrapExpect, c.LogLevel, c.LeaseTimeout = "a b", "nonsense", 3, "loud", time.Hour
	err := c.Validate()
	for _, want := range []string{"--node-id", "--amqp-addr", "needs --join", "--log-level", "--lease-timeout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s in %v", want, err)
		}
	}
	d := Default()
	if err := d.Validate(); err != nil {
		t.Errorf("the default is not runnable: %v", err)
	}
}

func TestSecrets(t *testing.T) {
	c, err := Parse(nil, []string{"TRIAGEMQ_CLUSTER_SECRET=s3cret", "TRIAGEMQ_DEFAULT_PASS=hush"})
	if err != nil || string(c.ClusterSecret) != "s3cret" {
		t.Fatalf("secret %q, %v", c.ClusterSecret, err)
	}
	for _, v := range c.Settings() {
		if s, _ := v.(string); strings.Contains(s, "s3cret") || strings.Contains(s, "hush") {
			t.Error("a secret is in the settings that are logged")
		}
	}
	empty := filepath.Join(t.TempDir(), "secret")
	write(t, empty, "\n")
	if _, err := Parse([]string{"--cluster-secret-file", empty}, nil); err == nil {
		t.Error("an empty secret file was taken")
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
