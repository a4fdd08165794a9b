//go:build ha

package system

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/testing/harness"
)

// TestHALogStaysShort sends 2.5 GiB through a node while a consumer keeps one message from before that unacknowledged. The folder never holds more than
// docs/operations/storage.md says, and the old message is still there at the end.
func TestHALogStaysShort(t *testing.T) {
	const through, bodyBytes = 2560 << 20, 64 << 10
	const boundBytes = 1<<30 /* kept behind a snapshot */ + 2*64<<20 /* a snapshot is due, and being taken */ + 3*64<<20 /* segments */
	c := harness.Start(t, 1)
	n := c.Nodes[0]
	ch := channel(t, n)
	check(t, ch.Confirm(false))
	must(ch.QueueDeclare("old", true, false, false, false, nil))(t)
	confirmed(t, ch, "old", amqp.Publishing{Body: []byte("an old message"), DeliveryMode: amqp.Persistent})
	old := next(t, must(ch.Consume("old", "", false, false, false, false, nil))(t))

	load := must(harness.StartLoad(t.Context(), harness.LoadConfig{Queue: "work", BodyBytes: bodyBytes, Window: 8, Publishers: c.Nodes, Consumers: []*harness.Node{n, n, n}}))(t)
	most, live := int64(0), int64(0) // what waits for a slow machine's consumers is part of the bound
	check(t, harness.Poll(within(t, 10*time.Minute), func() error {
		most, live = max(most, folderBytes(t, n.DataDir)), max(live, folderBytes(t, filepath.Join(n.DataDir, "snapshots")))
		if done := load.Ledger.Confirmed() * bodyBytes; done < through {
			return fmt.Errorf("%d MiB went through", done>>20)
		}
		return nil
	}))
	t.Logf("at most %d MiB on disk, of which snapshots %d, while %d MiB went through", most>>20, live>>20, through>>20)
	if bound := boundBytes + 2*live; most > bound || bound > through*3/4 {
		t.Errorf("%d MiB on disk, want %d at most, and that to be far less than what went through", most>>20, bound>>20)
	}
	load.StopPublishing()
	check(t, load.Drain(within(t, 2*time.Minute)))
	judge(t, load)
	check(t, old.Ack(false))
}

// folderBytes is what the files below a folder take. Files may come and go meanwhile.
func folderBytes(t *testing.T, dir string) (sum int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && d.Name() != "reserve" {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				sum += info.Size()
			}
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	})
	check(t, err)
	return sum
}
