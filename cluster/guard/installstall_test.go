package guard

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// TestInstallStalls: a leader that stops in the middle of a snapshot does not keep raft's main goroutine for ever, and one that is slow is left alone.
func TestInstallStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		snapshot, leader := io.Pipe()
		var stalledAt time.Duration
		began := time.Now()
		inner := newRecorder()
		tr := NewTransport(inner, Hooks{InstallStalled: func(id raft.ServerID) {
			stalledAt = time.Since(began)
			snapshot.CloseWithError(io.ErrUnexpectedEOF)
			if id != "y" {
				t.Errorf("%q stalled", id)
			}
		}})
		defer tr.Close()
		go func() {
			for range 5 {
				time.Sleep(installStallMax - time.Second)
				leader.Write([]byte("part"))
			}
		}()
		inner.consumer <- raft.RPC{
			Command: &raft.InstallSnapshotRequest{RPCHeader: header("y")}, Reader: snapshot, RespChan: make(chan raft.RPCResponse, 1),
		}
		rpc := <-tr.Consumer()
		n, err := io.Copy(io.Discard, rpc.Reader)
		if want := 5*(installStallMax-time.Second) + installStallMax; n != 20 || err == nil || stalledAt != want {
			t.Errorf("read %d bytes, %v, stalled after %v instead of %v", n, err, stalledAt, want)
		}
	})
}
