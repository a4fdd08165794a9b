package memory

import (
	"fmt"
	"strconv"
	"strings"
)

// Watermark says how much of its memory a process may use before publishers are held: a share of the limit, or a number of bytes. It is a flag.Value.
type Watermark struct {
	Share float64 // 0.05 to 0.95; 0 where Bytes counts
	Bytes int64   // 1 MiB at least
}

const (
	shareMin, shareMax = 0.05, 0.95
	bytesMin           = 1 << 20

	// headroomBytes stays free below the limit whatever the watermark says, or half of the limit where that is less: a message of 16 MiB that is on its way is in
	// as many as six places at once on the leader (received, batched, in an entry, written, sent to two followers).
	headroomBytes = 128 << 20
)

// Of is the watermark under a limit, in bytes.
func (w Watermark) Of(limitBytes int64) int64 {
	most := limitBytes - min(headroomBytes, limitBytes/2)
	if w.Bytes > 0 {
		return min(w.Bytes, most)
	}
	return min(int64(w.Share*float64(limitBytes)), most)
}

// Validate checks the bounds.
func (w Watermark) Validate() error {
	if w.Bytes == 0 && w.Share >= shareMin && w.Share <= shareMax || w.Share == 0 && w.Bytes >= bytesMin {
		return nil
	}
	return fmt.Errorf("memory watermark %s: want a share of %v to %v, or bytes (512MiB), 1MiB at least", w.String(), shareMin, shareMax)
}

var units = []struct {
	suffix string
	bytes  int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}}

// String is what Set reads.
func (w *Watermark) String() string {
	if w.Bytes == 0 {
		return strconv.FormatFloat(w.Share, 'g', -1, 64)
	}
	for _, u := range units[:4] {
		if n := w.Bytes / u.bytes; w.Bytes%u.bytes == 0 && n < 1<<10 {
			return strconv.FormatInt(n, 10) + u.suffix
		}
	}
	return strconv.FormatInt(w.Bytes, 10)
}

// Set takes "0.6", "512MiB", "2GB" or a number of bytes: what is below 1 is a share.
func (w *Watermark) Set(s string) error {
	number, unit := s, int64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(s, u.suffix); ok {
			number, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || n != n || n < 0 || n*float64(unit) >= 1<<62 {
		return fmt.Errorf("%q is neither a share (0.6) nor a number of bytes (512MiB)", s)
	}
	if *w = (Watermark{Bytes: int64(n * float64(unit))}); unit == 1 && n < 1 {
		*w = Watermark{Share: n}
	}
	return w.Validate()
}
