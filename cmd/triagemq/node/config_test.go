package node

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
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
	c.NodeID, c.AMQPAddr, c.BootstrapExpect, c.LogLevel, c.LeaseTimeout, c.TLSLoginFrom = "a b", "nonsense", 3, "loud", time.Hour, "heart"
	err := c.Validate()
	for _, want := range []string{"--node-id", "--amqp-addr", "needs --join", "--log-level", "--lease-timeout", "--tls-login-from"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s in %v", want, err)
		}
	}
	d := Default()
	if err := d.Validate(); err != nil {
		t.Errorf("the default is not runnable: %v", err)
	}
}

func TestGuestIsShutOut(t *testing.T) {
	for _, c := range []struct {
		addr, user string
		want       bool
	}{
		{"127.0.0.1:5672", "guest", false}, {"[::1]:5672", "guest", false}, {"localhost:5672", "guest", false},
		{"0.0.0.0:5672", "guest", true}, {":5672", "guest", true}, {"broker.example:5672", "guest", true}, {"0.0.0.0:5672", "ann", false},
	} {
		cfg := Default()
		cfg.AMQPAddr, cfg.DefaultUser = c.addr, c.user
		if got := cfg.guestIsShutOut(); got != c.want {
			t.Errorf("%s with %s: %v", c.addr, c.user, got)
		}
	}
}

func TestSecrets(t *testing.T) {
	c, err := Parse(nil, []string{"TRIAGEMQ_CLUSTER_SECRET=s3cret of the cluster", "TRIAGEMQ_DEFAULT_PASS=hush"})
	if err != nil || len(c.ClusterSecrets) != 1 || string(c.ClusterSecrets[0]) != "s3cret of the cluster" {
		t.Fatalf("secrets %q, %v", c.ClusterSecrets, err)
	}
	for _, v := range c.Settings() {
		if s, _ := v.(string); strings.Contains(s, "s3cret") || strings.Contains(s, "hush") {
			t.Error("a secret is in the settings that are logged")
		}
	}
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, "\n")
	if _, err := Parse([]string{"--cluster-secret-file", file}, nil); err == nil {
		t.Error("an empty secret file was taken")
	}
	write(t, file, "  the newer of the two\r\n\nthe older of the two\n")
	c, err = Parse([]string{"--cluster-secret-file", file}, nil)
	if got := fmt.Sprintf("%q", c.ClusterSecrets); err != nil || got != `["the newer of the two" "the older of the two"]` {
		t.Errorf("two lines: %s, %v", got, err)
	}
	c.ClusterSecrets = [][]byte{[]byte("too short")}
	if _, err := c.trust(); err == nil || !strings.Contains(err.Error(), "want at least 16") {
		t.Errorf("a short secret: %v", err)
	}
}

func TestHalfGivenTLS(t *testing.T) {
	for args, want := range map[string]string{
		"--amqps-addr 127.0.0.1:0":                                    "--amqps-addr needs --tls-cert and --tls-key",
		"--amqps-addr 127.0.0.1:0 --tls-cert c":                       "--amqps-addr needs --tls-cert and --tls-key",
		"--amqps-addr 127.0.0.1:0 --tls-key k --tls-ca a":             "--amqps-addr needs --tls-cert and --tls-key",
		"--amqps-addr nonsense --tls-cert c --tls-key k":              "--amqps-addr \"nonsense\": want host:port",
		"--tls-cert c --tls-key k":                                    "--tls-cert needs --amqps-addr\n--tls-key needs --amqps-addr",
		"--tls-ca a":                                                  "--tls-ca needs --amqps-addr",
		"--amqps-addr 127.0.0.1:0 --tls-cert c --tls-key k":           "",
		"--amqps-addr [::1]:5671 --tls-cert c --tls-key k --tls-ca a": "",
	} {
		_, err := Parse(strings.Fields(args), nil)
		if got := fmt.Sprint(err); want == "" && err != nil || want != "" && got != want {
			t.Errorf("%s: %s", args, got)
		}
	}
}

func TestTLSFiles(t *testing.T) {
	dir := t.TempDir()
	name := func(file string) string { return filepath.Join(dir, file) }
	cert, key := selfSigned(t)
	write(t, name("cert"), cert)
	write(t, name("key"), key)
	write(t, name("empty"), "")
	_, other := selfSigned(t)
	write(t, name("other"), other)
	for _, c := range []struct{ cert, key, ca, want string }{
		{"cert", "key", "", ""},
		{"cert", "key", "cert", ""},
		{"none", "key", "", "no such file"},
		{"cert", "other", "", "private key does not match"},
		{"empty", "key", "", "--tls-cert"},
		{"cert", "key", "none", "--tls-ca"},
		{"cert", "key", "empty", "holds no certificate"},
	} {
		cfg := Default()
		cfg.AMQPSAddr, cfg.TLSCert, cfg.TLSKey = "127.0.0.1:0", name(c.cert), name(c.key)
		if c.ca != "" {
			cfg.TLSCA = name(c.ca)
		}
		secrets, err := cfg.tlsConfig()
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		if err != nil || secrets.MinVersion != tls.VersionTLS12 || (secrets.ClientAuth == tls.RequireAndVerifyClientCert) != (c.ca != "") {
			t.Errorf("%+v: %+v, %v", c, secrets, err)
		}
	}
	plain := Default()
	if secrets, err := plain.tlsConfig(); secrets != nil || err != nil {
		t.Errorf("without flags: %v, %v", secrets, err)
	}
}

// selfSigned makes a certificate and its key in PEM.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	privateDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return block("CERTIFICATE", der), block("PRIVATE KEY", privateDER)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
