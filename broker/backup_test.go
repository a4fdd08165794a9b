package broker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/triagemq/triagemq/broker/backup"
	"github.com/triagemq/triagemq/fsm"
)

// What was confirmed on one node before a backup began on another is in it, and what came later is not.
func TestBackup(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *memCluster) {
		s, d := session(t, c.nodes[1].node)
		must(t, s.Submit(t.Context(), (&fsm.DeclareQueue{Ref: ref(s), Name: "q", Durable: true}).Append(nil)))
		confirms := func(n uint64) {
			publish(t, s, n)
			time.Sleep(time.Second)
			if d.count(fsm.Published, 0) != int(n) {
				t.Fatalf("publish %d is not confirmed", n)
			}
		}
		confirms(1)
		b, err := c.nodes[2].node.OpenBackup(t.Context())
		must(t, err)
		defer b.Close()
		confirms(2)
		var file bytes.Buffer
		if n, err := b.WriteTo(&file); err != nil || n != int64(file.Len()) {
			t.Fatalf("%d of %d bytes, %v", n, file.Len(), err)
		}
		r, err := backup.NewReader(&file)
		must(t, err)
		if h := r.Header; h.Cluster != "mem" || h.FeatureLevel < 1 || h.Index == 0 || h.Node != c.nodes[2].node.cfg.Name || h.Created.IsZero() {
			t.Errorf("header %+v", h)
		}
		state, err := fsm.Restore(fsm.Options{Check: true}, r)
		must(t, err)
		if n, err := io.Copy(io.Discard, r); n != 0 || err != nil {
			t.Errorf("%d bytes behind the state, %v", n, err)
		}
		if q, _ := state.Queue("/", "q"); q.Ready != 1 {
			t.Errorf("%d messages in the backup, 1 was confirmed before it", q.Ready)
		}
	})
}

func TestBackupsAreBounded(t *testing.T) {
	inCluster(t, 1, func(t *testing.T, c *memCluster) {
		n := c.nodes[0].node
		var open []*Backup
		for range backupsMax {
			b, err := n.OpenBackup(t.Context())
			must(t, err)
			open = append(open, b)
		}
		if _, err := n.OpenBackup(t.Context()); !errors.Is(err, ErrBusy) {
			t.Errorf("one too many: %v", err)
		}
		must(t, open[0].Close())
		b, err := n.OpenBackup(t.Context())
		must(t, err)
		open[0] = b
		for _, b := range open {
			must(t, b.Close())
		}
	})
}

// A node that cannot tell what is confirmed gives no backup, and forgets that it was asked.
func TestNoBackupWithoutALeader(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *memCluster) {
		n := c.nodes[0].node
		c.step.Lock()
		c.depose(0)
		c.step.Unlock()
		for range backupsMax + 1 {
			if _, err := n.OpenBackup(context.Background()); err == nil || errors.Is(err, ErrBusy) {
				t.Errorf("a backup without a leader: %v", err)
			}
		}
	})
}
