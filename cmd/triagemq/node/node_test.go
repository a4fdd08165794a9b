package node

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTakenAddress: a node that cannot have an address for its clients ends before it has touched its data.
func TestTakenAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := Default()
	cfg.DataDir, cfg.LogLevel = filepath.Join(t.TempDir(), "data"), "error"
	cfg.AMQPAddr, cfg.HTTPAddr, cfg.PeerAddr, cfg.GossipAddr = l.Addr().String(), "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	n, err := Open(cfg)
	if err == nil {
		n.Close(t.Context())
		t.Fatal("opened on an address that is taken")
	}
	if !strings.Contains(err.Error(), "--amqp-addr") {
		t.Errorf("the error does not name the flag: %v", err)
	}
	if _, err := os.Stat(cfg.DataDir); !os.IsNotExist(err) {
		t.Errorf("the data folder was made: %v", err)
	}
}
