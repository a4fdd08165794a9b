package cluster

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrFolderInUse is wrapped by Open's error when another process holds the data folder.
var ErrFolderInUse = errors.New("cluster: the data folder is in use by another process")

// The data folder:
//
//	LOCK           held by the process (flock); its process id, decimal, for people
//	identity.json  who this node is; written once, and again when its cluster becomes known
//	boot           the last boot number drawn, decimal
//	level          the feature level that log and snapshots demand, decimal; none stands for 1
//	log/           the raft log (raft-wal's segments, or log.bolt)
//	stable.bolt    raft's term and vote
//	snapshots/     raft's snapshots
//	set-aside      the plan of moving a damaged folder's parts away, while that is under way (setaside.go)
//	damaged-TIME/  such parts
//	reserve        space for when the disk is full (space.go)
//
// Every file here is replaced as a whole: written aside, fsynced, renamed, the folder fsynced.
type dataDir struct {
	path string
	lock *os.File

	mu    sync.Mutex // guards what follows, and the files behind it
	id    folderIdentity
	boot  uint64
	feat  uint32 // feature level, at least 1
	ended bool
}

type folderIdentity struct {
	Name    string `json:"name"`              // --node-id
	Server  string `json:"server"`            // raft server id: name and a random suffix, so that a node that lost its folder is another voter
	Cluster string `json:"cluster"`           // cluster id, "" until known
	Drawn   bool   `json:"drawn"`             // this node drew the cluster id: it alone may bootstrap that cluster
	Opened  bool   `json:"opened"`            // log and vote were on disk once: a folder without them has lost what this node confirmed and voted
	Voted   bool   `json:"voted,omitempty"`   // this node has been a voter: where it is no member, it was removed
	Booted  bool   `json:"booted"`            // the file boot was there once; folders of the first release lack this field until they are opened again
	Rejoins bool   `json:"rejoins,omitempty"` // an earlier folder of this node was set aside: it joins a cluster and never founds one
	// Departed is set when the node is no member any more: a restart would stand outside, waiting for nobody.
	Departed Departure `json:"departed,omitempty"`
}

func openDataDir(path, name string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("making the data folder: %w", err)
	}
	lock, err := lockFolder(path)
	if err != nil {
		return nil, err
	}
	d := &dataDir{path: path, lock: lock, feat: 1}
	if err = d.finishSettingAside(); err == nil {
		err = d.load(name)
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return d, nil
}

// lockFolder makes this process the folder's only one. The kernel releases the lock when the process ends, however it ends.
func lockFolder(path string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(path, "LOCK"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("this process cannot write to the data folder: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		noteHolder(f)
		return f, nil
	}
	defer f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("%w: %s%s", ErrFolderInUse, path, holder(f))
	}
	return nil, fmt.Errorf("locking %s: %w", path, err)
}

// noteHolder writes who holds the lock. It serves people only: a full disk must not keep a node from starting.
func noteHolder(f *os.File) {
	if f.Truncate(0) == nil {
		fmt.Fprintln(f, os.Getpid())
	}
}

// holder is the process that noteHolder named, as far as it got.
func holder(f *os.File) string {
	b, err := io.ReadAll(io.LimitReader(f, 20))
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return " (process " + pid + ")"
	}
	return ""
}

func (d *dataDir) load(name string) error {
	if exists(d.file(planFile)) {
		return fmt.Errorf("%w: %s", ErrRefounding, d.path)
	}
	raw, err := os.ReadFile(d.file("identity.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return d.found(name)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &d.id); err != nil || d.id.Server == "" {
		return fmt.Errorf("%w: %s does not decode (%v)", ErrDamaged, d.file("identity.json"), err)
	}
	if d.id.Name != name {
		return fmt.Errorf("the data folder %s belongs to node %q, not to %q: one of data-dir and node-id is wrong", d.path, d.id.Name, name)
	}
	if d.id.Departed != "" {
		return fmt.Errorf("%w (%s): move the folder %s away and start with --join; the node then joins as a new one", ErrDeparted, d.id.Departed, d.path)
	}
	return errors.Join(d.loadBoot(), d.loadLevel())
}

// loadBoot reads the last boot number drawn. The number must never be guessed: the state machine refuses one that is too low, and one that was drawn and whose
// OriginOpen is still on its way would be used by two lives of this node.
func (d *dataDir) loadBoot() error {
	raw, err := os.ReadFile(d.file("boot"))
	if errors.Is(err, fs.ErrNotExist) && !d.id.Booted {
		return nil // found() was interrupted before the first boot
	}
	if err == nil {
		d.boot, err = strconv.ParseUint(strings.TrimSpace(string(raw)), 10, 64)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, strconv.ErrSyntax) || errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%w: the boot number: %w", ErrDamaged, err)
	}
	return err
}

// found makes this folder a new node.
func (d *dataDir) found(name string) error {
	for _, trace := range []string{"boot", "log", "stable.bolt"} {
		if _, err := os.Stat(d.file(trace)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %s has data but no identity.json", ErrDamaged, d.path)
		}
	}
	d.id = newIdentity(name)
	return d.saveIdentity()
}

func newIdentity(name string) folderIdentity {
	return folderIdentity{Name: name, Server: name + "-" + randomHex(4)}
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}

// identity returns what is known now.
func (d *dataDir) identity() (id folderIdentity, boot uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.id, d.boot
}

// nextBoot draws a boot number that is on disk before it is used.
func (d *dataDir) nextBoot() (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return 0, ErrClosed
	}
	next := d.boot + 1
	if err := d.saveBoot(next); err != nil {
		return 0, fmt.Errorf("writing the boot number: %w", err)
	}
	d.boot = next
	return next, nil
}

func (d *dataDir) saveBoot(n uint64) error {
	return replaceFile(d.file("boot"), []byte(strconv.FormatUint(n, 10)+"\n"))
}

// adoptCluster keeps the cluster id of others; it does nothing where one is known.
func (d *dataDir) adoptCluster(cluster string) (adopted bool, err error) {
	return d.setCluster(cluster, false)
}

// drawCluster returns the cluster id under which this node may bootstrap: one that it draws, or drew before and did not come to use.
func (d *dataDir) drawCluster() (string, error) {
	id, _ := d.identity()
	if id.Cluster != "" {
		if !id.Drawn {
			return "", fmt.Errorf("cluster %s was founded by another node", id.Cluster)
		}
		return id.Cluster, nil
	}
	if _, err := d.setCluster(randomHex(16), true); err != nil {
		return "", err
	}
	id, _ = d.identity()
	if !id.Drawn {
		return "", fmt.Errorf("cluster %s was founded by another node", id.Cluster)
	}
	return id.Cluster, nil
}

func (d *dataDir) setCluster(cluster string, drawn bool) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.id.Cluster != "" || d.ended {
		return false, nil
	}
	d.id.Cluster, d.id.Drawn = cluster, drawn
	if err := d.saveIdentity(); err != nil {
		d.id.Cluster, d.id.Drawn = "", false
		return false, err
	}
	return true, nil
}

// noteOpened remembers that log, vote and boot number are on disk.
func (d *dataDir) noteOpened() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.id.Opened && d.id.Booted || d.ended {
		return nil
	}
	if err := d.saveBoot(d.boot); err != nil {
		return err
	}
	d.id.Opened, d.id.Booted = true, true
	return d.saveIdentity()
}

// noteVoted remembers that this node has been a voter.
func (d *dataDir) noteVoted() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.id.Voted || d.ended {
		return nil
	}
	d.id.Voted = true
	return d.saveIdentity()
}

// noteDeparted remembers that this node is no member any more. The first word stays.
func (d *dataDir) noteDeparted(how Departure) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.id.Departed != "" || d.ended {
		return nil
	}
	d.id.Departed = how
	return d.saveIdentity()
}

func (d *dataDir) saveIdentity() error {
	raw, err := json.MarshalIndent(d.id, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(d.file("identity.json"), append(raw, '\n'))
}

func (d *dataDir) file(name string) string { return filepath.Join(d.path, name) }

// close releases the folder to other processes; nothing is written after it.
func (d *dataDir) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	return d.lock.Close()
}

// replaceFile makes content the durable content of path, or leaves the old one.
func replaceFile(path string, content []byte) error {
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
