package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
)

// A node whose folder is damaged never votes with it again. Where others can be reached it becomes a new server instead, by itself:
//
//	set-aside                written first, durably: where to, and the identity that comes after
//	damaged-TIME/…           the parts of the old server, renamed one by one
//	identity.json            the new server's
//	set-aside removed
//
// A process that dies in between finds the plan at its next start and carries it out to its end; every step may be repeated. The new server belongs to the
// cluster of the old one, where its id could still be read, and founds none in any case: to the others it is a newcomer of the same name.

// DamagePolicy is what a node does with a damaged data folder.
type DamagePolicy string

// The policies.
const (
	DamageRejoin DamagePolicy = "rejoin" // set it aside and join anew, where Join names others and one of them can be reached; else as DamageRefuse
	DamageRefuse DamagePolicy = "refuse" // do not start, and say what to do
)

const (
	setAsidePlan   = "set-aside"
	setAsidePrefix = "damaged-"
	setAsideKept   = 2 // damaged folders kept; the oldest goes first
)

// settingAside is the plan.
type settingAside struct {
	Folder string         `json:"folder"` // name within the data folder
	Next   folderIdentity `json:"next"`
}

// recoverFromDamage sets the folder aside if that is what to do about cause, and returns nil when Open may be tried again; else cause, with what keeps it.
func recoverFromDamage(cfg *Config, cause error) error {
	if !errors.Is(cause, ErrDamaged) || cfg.OnDamage != DamageRejoin {
		return cause
	}
	if len(cfg.Join) == 0 {
		return fmt.Errorf("%w (it stays as it is: without a join list there is nobody to get the state from)", cause)
	}
	if err := awaitOthers(cfg); err != nil {
		return fmt.Errorf("%w (it stays as it is: %w)", cause, err)
	}
	plan, err := setAside(cfg)
	if err != nil {
		return fmt.Errorf("%w; setting it aside: %w", cause, err)
	}
	cfg.Logger.Error("the data folder is damaged; it was set aside, and this node joins the cluster anew under a new id: find out what is wrong with the disk",
		"damage", cause, "set_aside", filepath.Join(cfg.DataDir, plan.Folder), "new_id", plan.Next.Server)
	return nil
}

const (
	othersBound = 30 * time.Second // after a power failure the others are about to start as well
	othersPause = 250 * time.Millisecond
)

// awaitOthers waits until somebody accepts connections at an address of the join list. This node's own gossip is not open yet.
func awaitOthers(cfg *Config) error {
	for deadline, first := time.Now().Add(othersBound), true; ; first = false {
		for _, addr := range cfg.Join {
			if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
				c.Close()
				return nil
			}
		}
		if time.Now().After(deadline) {
			return errors.New("no other node of the join list can be reached")
		}
		if first {
			cfg.Logger.Warn("the data folder is damaged; waiting for another node before it is set aside", "join", cfg.Join, "seconds", othersBound.Seconds())
		}
		time.Sleep(othersPause)
	}
}

// setAside writes the plan for the folder and carries it out.
func setAside(cfg *Config) (settingAside, error) {
	lock, err := lockFolder(cfg.DataDir)
	if err != nil {
		return settingAside{}, err
	}
	defer lock.Close()
	d := &dataDir{path: cfg.DataDir}
	plan := settingAside{Folder: setAsidePrefix + time.Now().UTC().Format("20060102T150405.000"), Next: newIdentity(cfg.NodeID)}
	plan.Next.Rejoins, plan.Next.Cluster = true, d.clusterOnDisk()
	raw, err := json.MarshalIndent(plan, "", "  ")
	if err == nil {
		err = replaceFile(d.file(setAsidePlan), append(raw, '\n'))
	}
	if err == nil {
		err = d.finishSettingAside()
	}
	return plan, err
}

// clusterOnDisk is the cluster id of the folder, "" where it cannot be read.
func (d *dataDir) clusterOnDisk() string {
	var id folderIdentity
	if raw, err := os.ReadFile(d.file("identity.json")); err != nil || json.Unmarshal(raw, &id) != nil {
		return ""
	}
	return id.Cluster
}

// finishSettingAside carries a plan out, from wherever it was left; without a plan it does nothing.
func (d *dataDir) finishSettingAside() error {
	raw, err := os.ReadFile(d.file(setAsidePlan))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var plan settingAside
	if err := json.Unmarshal(raw, &plan); err != nil || plan.Next.Server == "" || filepath.Base(plan.Folder) != plan.Folder {
		return fmt.Errorf("%s does not decode (%v): move what is left of the folder away by hand", d.file(setAsidePlan), err)
	}
	if err := d.moveParts(plan); err != nil {
		return err
	}
	raw, err = json.MarshalIndent(plan.Next, "", "  ")
	if err != nil {
		return err
	}
	if err := replaceFile(d.file("identity.json"), append(raw, '\n')); err != nil {
		return err
	}
	if err := errors.Join(os.Remove(d.file(setAsidePlan)), syncFolder(d.path)); err != nil {
		return err
	}
	return d.forgetSetAside()
}

func (d *dataDir) moveParts(plan settingAside) error {
	if next, err := os.ReadFile(d.file("identity.json")); err == nil {
		var id folderIdentity
		if json.Unmarshal(next, &id) == nil && id.Server == plan.Next.Server {
			return nil // done, and the new identity written
		}
	}
	target := d.file(plan.Folder)
	if err := os.MkdirAll(target, 0o700); err != nil {
		return err
	}
	for _, part := range append([]string{"level"}, folderParts...) {
		if err := os.Rename(d.file(part), filepath.Join(target, part)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return errors.Join(syncFolder(target), syncFolder(d.path))
}

// forgetSetAside keeps the newest damaged folders; their names sort by time.
func (d *dataDir) forgetSetAside() error {
	kept, err := filepath.Glob(d.file(setAsidePrefix + "*"))
	if err != nil {
		return err
	}
	slices.Sort(kept)
	var errs []error
	for _, old := range kept[:max(0, len(kept)-setAsideKept)] {
		errs = append(errs, os.RemoveAll(old))
	}
	return errors.Join(errs...)
}

// tellSetAside reminds of damaged folders that take space.
func (d *dataDir) tellSetAside(log hclog.Logger) {
	if kept, _ := filepath.Glob(d.file(setAsidePrefix + "*")); len(kept) > 0 {
		log.Warn("damaged data of this node was set aside earlier; remove it once nobody needs it", "folders", kept)
	}
}
