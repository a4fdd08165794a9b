package guard

import (
	"io"
	"time"

	"github.com/hashicorp/raft"
)

// installStallMax is how long a leader may send nothing of a snapshot that it has begun to send.
const installStallMax = 10 * time.Second

// stallReader reads a snapshot that arrives and tells when nothing does. Raft reads it on its main goroutine, without a bound, and does nothing else meanwhile:
// it neither votes nor stands for election. A leader that is stopped in the middle (SIGSTOP, a hypervisor that pauses it), whose machine keeps the
// connection alive, would be replaced by nobody in a cluster of three.
type stallReader struct {
	io.Reader
	stalled func() // breaks the connection, which ends Read
}

func (r stallReader) Read(p []byte) (int, error) {
	timer := time.AfterFunc(installStallMax, r.stalled)
	defer timer.Stop()
	return r.Reader.Read(p)
}

// watchInstall bounds the reading of a snapshot.
func (t *Transport) watchInstall(rpc *raft.RPC, req *raft.InstallSnapshotRequest) {
	if t.hooks.InstallStalled == nil || rpc.Reader == nil {
		return
	}
	from := raft.ServerID(req.ID)
	rpc.Reader = stallReader{rpc.Reader, func() { t.hooks.InstallStalled(from) }}
}
