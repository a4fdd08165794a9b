package cluster

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/types"
	"go.etcd.io/bbolt"

	"github.com/triagemq/triagemq/cluster/guard"
)

// boltCopyTries bounds how often a file is copied that somebody commits to meanwhile.
const boltCopyTries = 20

// withBoltCopy copies a bbolt file, which a running node has locked, to a temporary folder and calls use with the copy.
//
// A copy that is read while somebody writes is consistent if no transaction was committed meanwhile. bbolt never overwrites a page that the last committed
// transaction needs; it writes the pages of the next one elsewhere, and last one of the two meta pages at the beginning of the file, which makes it the committed
// one. So as long as both meta pages are the same before and after, every page that they lead to is in the copy as it was.
func withBoltCopy(path string, use func(copied string) error) error {
	dir, err := os.MkdirTemp("", "triagemq-inspect-")
	if err != nil {
		return err
	}
	copied := filepath.Join(dir, "copy.db")
	if err = copyBolt(path, copied); err == nil {
		_, err = guard.Open(func() (struct{}, error) { return struct{}{}, use(copied) }) // a damaged one makes its decoder panic
	}
	return errors.Join(err, os.RemoveAll(dir))
}

func copyBolt(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	for range boltCopyTries {
		before, err := boltMetas(in)
		if err != nil {
			return err
		}
		if err := copyFile(in, to); err != nil {
			return err
		}
		if after, err := boltMetas(in); err != nil || bytes.Equal(before, after) {
			return err
		}
	}
	return fmt.Errorf("%s changes all the time: look at it while the node is stopped", from)
}

// boltMetas reads the two meta pages. The first page begins with a header of 16 bytes, a magic number and a version of 4 each, and the size of a page,
// little-endian on the machines that we run on.
func boltMetas(f *os.File) ([]byte, error) {
	var head [28]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return nil, fmt.Errorf("%s is no database: %w", f.Name(), err)
	}
	page := binary.LittleEndian.Uint32(head[24:])
	if page < 512 || page > 64<<10 {
		return nil, fmt.Errorf("%s is no database: pages of %d bytes", f.Name(), page)
	}
	metas := make([]byte, 2*page)
	_, err := f.ReadAt(metas, 0)
	return metas, err
}

func copyFile(in *os.File, to string) error {
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	size, err := in.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = io.Copy(out, io.NewSectionReader(in, 0, size))
	}
	return errors.Join(err, out.Close())
}

// walSegments reads the list of raft-wal's segments, in order.
func walSegments(dir string) (segments []types.SegmentInfo, err error) {
	err = withBoltCopy(filepath.Join(dir, metadb.FileName), func(copied string) error {
		db, err := bbolt.Open(copied, 0o600, &bbolt.Options{ReadOnly: true})
		if err != nil {
			return err
		}
		defer db.Close()
		return db.View(func(tx *bbolt.Tx) error {
			bucket := tx.Bucket([]byte(metadb.MetaBucket))
			if bucket == nil {
				return nil
			}
			raw := bucket.Get([]byte(metadb.MetaKey))
			if raw == nil {
				return nil // nothing was stored yet
			}
			var state types.PersistentState
			if err := json.Unmarshal(raw, &state); err != nil {
				return fmt.Errorf("%s: %w", metadb.FileName, err)
			}
			segments = state.Segments
			return nil
		})
	})
	return segments, err
}
