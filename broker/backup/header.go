package backup

import (
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

const (
	magic           = "TMQB"
	version         = 1
	headerBytesMax  = 64 << 10
	sectionBytesMax = 1 << 20
	sumBytes        = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrDamaged is what every fault of a file wraps.
var ErrDamaged = errors.New("backup: the file is damaged or is no backup")

// ErrVersion says that a newer program wrote the file.
var ErrVersion = errors.New("backup: the file is of a version that this program does not know")

// Header says what a backup is of. Fields are only ever added.
type Header struct {
	Cluster      string    `json:"cluster"` // id of the cluster that it was taken of
	Node         string    `json:"node"`    // name of the node that made it
	Index        uint64    `json:"index"`   // of the last log entry in it
	Term         uint64    `json:"term"`
	FeatureLevel uint32    `json:"feature_level"` // of the state: an older program cannot restore a newer level
	Product      string    `json:"product"`       // version of the program that made it
	Created      time.Time `json:"created"`       // by that node's clock; the state is of this moment or a little later
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, args...))
}
