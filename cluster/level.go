package cluster

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// What is in the log and in snapshots is of a feature level, which the Machine knows and raises. The group keeps three promises about it:
//   - the data folder says which level it demands, so that an older program refuses at its start and not in the middle of the log;
//   - a server whose program knows less than the state's level is not taken into the cluster (fitsLevel);
//   - a Machine that cannot apply or restore something ends the process: it must not fall behind in silence, and a leader would offer it the same snapshot for ever.

// ErrLevel is wrapped by every error that a newer program cures.
var ErrLevel = errors.New("cluster: this program is too old for what the cluster has written")

// levelError is what the Machine's errors wrap where only a newer program can go on.
type levelError interface {
	error
	NeedsLevel() uint32
}

// fitsFolder refuses a data folder of a higher level than this program knows.
func (g *Group) fitsFolder() error {
	g.fsm.level, g.fsm.noteLevel = g.dir.level(), g.dir.noteLevel
	if level := g.dir.level(); level > g.cfg.FeatureLevel {
		return fmt.Errorf("%w: the data folder %s is at feature level %d, and this program (version %s) knows levels up to %d; start the newer version again: "+
			"a folder is never taken back to a lower level", ErrLevel, g.dir.path, level, g.cfg.Version, g.cfg.FeatureLevel)
	}
	return nil
}

// fitsCluster is the newcomer's side: why the cluster that another server belongs to cannot take this one.
func (g *Group) fitsCluster(other gossipMeta) error {
	if other.Level > g.cfg.FeatureLevel {
		return fmt.Errorf("%w: it is at feature level %d, and this program (version %s) knows levels up to %d; start this node with version %s or newer",
			ErrLevel, other.Level, g.cfg.Version, g.cfg.FeatureLevel, other.Version)
	}
	return nil
}

// fitsLevel is the cluster's side: why a server cannot become a member.
func (g *Group) fitsLevel(newcomer gossipMeta) error {
	if level := g.machine.FeatureLevel(); newcomer.LevelKnown < level {
		return fmt.Errorf("%w: the cluster is at feature level %d, and %s (version %s) knows levels up to %d",
			ErrLevel, level, newcomer.Name, newcomer.Version, newcomer.LevelKnown)
	}
	return nil
}

// needs notes the level that an error of the Machine demands, so that this program refuses at its next start instead of asking for the same snapshot again.
func (f *machineFSM) needs(err error) error {
	var demand levelError
	if !errors.As(err, &demand) {
		return err
	}
	err = fmt.Errorf("%w: %w", ErrLevel, err)
	if demand.NeedsLevel() > f.level {
		f.level = demand.NeedsLevel()
		err = errors.Join(err, f.noteLevel(f.level))
	}
	return err
}

// followLevel notes the Machine's level when it has gone up. The entry that raised it is on this disk already; a program that does not know the level stops
// there, should it be started before the note is written.
func (f *machineFSM) followLevel() {
	level := f.machine.FeatureLevel()
	if level <= f.level {
		return
	}
	f.level = level
	if err := f.noteLevel(level); err != nil {
		f.fatal(fmt.Errorf("noting feature level %d in the data folder: %w", level, err))
	}
}

// restoreMachine restores a snapshot. A live one that fails ends this process, see Machine. One that demands a newer program keeps an older snapshot from being
// taken in its place at the start: the log between the two may be gone.
func (f *machineFSM) restoreMachine(r io.Reader) error {
	if f.ahead != nil {
		return f.ahead
	}
	live := f.live.Load()
	err := f.machine.Restore(r, live)
	if err == nil {
		return nil
	}
	if err = f.needs(err); errors.Is(err, ErrLevel) {
		f.ahead = err
	}
	if live {
		f.damaged = true // the old state may be gone: nothing may be applied to what is there, should fatal return
		f.fatal(fmt.Errorf("restoring a snapshot from the leader: %w", err))
	}
	return err
}

func (d *dataDir) loadLevel() error {
	raw, err := os.ReadFile(d.file("level"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	level, err := strconv.ParseUint(strings.TrimSpace(string(raw)), 10, 32)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, d.file("level"), err)
	}
	d.feat = max(1, uint32(level))
	return nil
}

// level is the feature level that the folder demands.
func (d *dataDir) level() uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.feat
}

// noteLevel raises it, durably.
func (d *dataDir) noteLevel(level uint32) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if level <= d.feat || d.ended {
		return nil
	}
	if err := replaceFile(d.file("level"), []byte(strconv.FormatUint(uint64(level), 10)+"\n")); err != nil {
		return err
	}
	d.feat = level
	return nil
}
