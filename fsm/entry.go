package fsm

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
)

// A log entry is a version byte, the leader's time stamp and a list of items. Everything the leader's proposer joins is an item: origin batches, and what
// opens and closes origins, moves the clock and compares replicas. docs/formats.md has the tables.

// entryVersion is the newest encoding of entries; older ones stay readable for ever.
const entryVersion = 1

const (
	entryHeadSize = 1 + 8
	itemHeadSize  = 1 + lengthBytes
)

// itemKind tells items apart. Numbers are for ever.
type itemKind uint8

const (
	itemBatch itemKind = iota + 1
	itemOriginOpen
	itemOriginDown
	itemTick
	itemMark
	itemVerify
	itemFeatureLevel
)

var itemNames = [...]string{
	itemBatch:        "batch",
	itemOriginOpen:   "origin open",
	itemOriginDown:   "origin down",
	itemTick:         "tick",
	itemMark:         "mark",
	itemVerify:       "verify",
	itemFeatureLevel: "feature level",
}

func (k itemKind) String() string {
	if int(k) < len(itemNames) && itemNames[k] != "" {
		return itemNames[k]
	}
	return fmt.Sprintf("item kind %d", uint8(k))
}

// item is a decoded item. commands aliases the entry; its commands are not decoded.
type item struct {
	kind      itemKind
	Origin    Origin // of itemBatch, itemOriginOpen, itemOriginDown
	seq       uint64 // of itemBatch
	commands  []byte // of itemBatch
	markIndex uint64 // of itemVerify, as the two below
	voters    int
	reports   []DigestReport // ascending by node, each node once
	level     uint32         // of itemFeatureLevel
}

// AppendEntry writes an entry around encoded items. timeMillis is the virtual clock's (Unix milliseconds); apply takes the maximum of it and the state's.
func AppendEntry(dst []byte, timeMillis int64, items [][]byte) []byte {
	dst = append(dst, entryVersion)
	dst = binary.BigEndian.AppendUint64(dst, uint64(timeMillis))
	for _, encoded := range items {
		dst = append(dst, encoded...)
	}
	return dst
}

// AppendBatch writes an origin batch: commands is a concatenation of encoded commands. seq counts from 1 within a boot.
func AppendBatch(dst []byte, o Origin, seq uint64, commands ...[]byte) []byte {
	start := len(dst)
	dst = beginItem(dst, itemBatch)
	dst = appendOrigin(dst, o)
	dst = binary.BigEndian.AppendUint64(dst, seq)
	for _, c := range commands {
		dst = append(dst, c...)
	}
	return endItem(dst, start)
}

// AppendOriginOpen and AppendOriginDown open an origin (batch 0 of its boot) and close exactly this boot if it is the highest and open.
func AppendOriginOpen(dst []byte, o Origin) []byte {
	return endItem(appendOrigin(beginItem(dst, itemOriginOpen), o), len(dst))
}

// AppendOriginDown closes an origin from outside.
func AppendOriginDown(dst []byte, o Origin) []byte {
	return endItem(appendOrigin(beginItem(dst, itemOriginDown), o), len(dst))
}

// AppendTick writes a Tick: deadlines that the entry's time has passed fire, and work left over goes on.
func AppendTick(dst []byte) []byte { return endItem(beginItem(dst, itemTick), len(dst)) }

// AppendMark makes every replica remember its digest after the entry that holds it (State.Marked).
func AppendMark(dst []byte) []byte { return endItem(beginItem(dst, itemMark), len(dst)) }

// DigestReport is what one replica says of a Mark.
type DigestReport struct {
	Node string
	Hash [16]byte
}

const digestReportSizeMin = 1 + 16

// AppendVerify carries the reports for the Mark at markIndex and the number of voters (at most 65535). Every replica compares its own: one that a
// majority outvotes emits Outvoted; where no hash has a majority all emit Undecided. The last report of a node counts: a node has one vote.
func AppendVerify(dst []byte, markIndex uint64, voters int, reports []DigestReport) []byte {
	reports = oneReportPerNode(reports)
	if voters < 0 || voters > math.MaxUint16 || len(reports) > math.MaxUint16 {
		panic(fmt.Sprintf("fsm: a verify of %d reports and %d voters was encoded", len(reports), voters))
	}
	start := len(dst)
	dst = beginItem(dst, itemVerify)
	dst = binary.BigEndian.AppendUint64(dst, markIndex)
	dst = binary.BigEndian.AppendUint16(dst, uint16(voters))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(reports)))
	for _, report := range reports {
		dst = appendShort(dst, report.Node)
		dst = append(dst, report.Hash[:]...)
	}
	return endItem(dst, start)
}

// oneReportPerNode returns a copy in order of nodes that has the last report of each.
func oneReportPerNode(reports []DigestReport) []DigestReport {
	sorted := slices.Clone(reports)
	slices.SortStableFunc(sorted, func(a, b DigestReport) int { return strings.Compare(a.Node, b.Node) })
	kept := sorted[:0]
	for i, report := range sorted {
		if i+1 == len(sorted) || sorted[i+1].Node != report.Node {
			kept = append(kept, report)
		}
	}
	return kept
}

// AppendFeatureLevel raises the replicated feature level; a lower or equal one does nothing.
func AppendFeatureLevel(dst []byte, level uint32) []byte {
	return endItem(binary.BigEndian.AppendUint32(beginItem(dst, itemFeatureLevel), level), len(dst))
}

func beginItem(dst []byte, kind itemKind) []byte { return append(dst, uint8(kind), 0, 0, 0, 0) }

func endItem(dst []byte, start int) []byte {
	payloadBytes := len(dst) - start - itemHeadSize
	if uint64(payloadBytes) > math.MaxUint32 {
		panic(fmt.Sprintf("fsm: an item of %d bytes was encoded", payloadBytes))
	}
	binary.BigEndian.PutUint32(dst[start+1:], uint32(payloadBytes))
	return dst
}

func appendOrigin(dst []byte, o Origin) []byte {
	return binary.BigEndian.AppendUint64(appendShort(dst, o.Node), o.Boot)
}

// openEntry reads an entry's head and returns a reader of its items.
func openEntry(b []byte) (timeMillis int64, r itemReader, err error) {
	if len(b) < entryHeadSize {
		return 0, itemReader{}, fmt.Errorf("fsm: entry: %w", errTruncated)
	}
	if b[0] != entryVersion {
		return 0, itemReader{}, fmt.Errorf("fsm: entry: unknown version %d", b[0])
	}
	return int64(binary.BigEndian.Uint64(b[1:])), itemReader{b: b[entryHeadSize:]}, nil
}

// itemReader walks through the items of an entry.
type itemReader struct{ b []byte }

// next decodes the next item; ok is false at the end of the entry, and with an error.
func (r *itemReader) next() (it item, ok bool, err error) {
	if len(r.b) == 0 {
		return item{}, false, nil
	}
	kind, payload, rest, err := splitItem(r.b)
	if err != nil {
		return item{}, false, err
	}
	if it, err = decodeItem(kind, payload); err != nil {
		return item{}, false, err
	}
	r.b = rest
	return it, true, nil
}

// splitItem splits the first item off.
func splitItem(b []byte) (kind itemKind, payload, rest []byte, err error) {
	if len(b) < itemHeadSize {
		return 0, nil, b, fmt.Errorf("fsm: item head: %w", errTruncated)
	}
	kind = itemKind(b[0])
	length := binary.BigEndian.Uint32(b[1:])
	if uint64(length) > uint64(len(b)-itemHeadSize) {
		return kind, nil, b, fmt.Errorf("fsm: %v: %w", kind, errTruncated)
	}
	end := itemHeadSize + int(length)
	return kind, b[itemHeadSize:end:end], b[end:], nil
}

func decodeItem(kind itemKind, payload []byte) (item, error) {
	r := fieldReader{b: payload}
	it := item{kind: kind}
	switch kind {
	case itemBatch:
		it.Origin = r.origin()
		it.seq = r.positive()
		it.commands = r.rest()
	case itemOriginOpen, itemOriginDown:
		it.Origin = r.origin()
	case itemTick, itemMark:
	case itemVerify:
		it.markIndex = r.uint64()
		it.voters = int(r.uint16())
		it.reports = r.reports()
	case itemFeatureLevel:
		it.level = r.uint32()
	default:
		r.err = errKind
	}
	if err := r.fault(); err != nil {
		return item{}, fmt.Errorf("fsm: %v: %w", kind, err)
	}
	return it, nil
}

// origin reads a node's name and boot, neither of which may be empty: an unset origin must not become a record of the state.
func (r *fieldReader) origin() Origin {
	o := Origin{Node: r.shortString(), Boot: r.positive()}
	if o.Node == "" && r.err == nil {
		r.err = errValue
	}
	return o
}

// positive reads a number that counts from 1.
func (r *fieldReader) positive() uint64 {
	n := r.uint64()
	if n == 0 && r.err == nil {
		r.err = errValue
	}
	return n
}

// reports reads digest reports; a node that came twice would vote twice, so nodes must ascend.
func (r *fieldReader) reports() []DigestReport {
	count := int(r.uint16())
	if count == 0 || r.err != nil {
		return nil
	}
	if count*digestReportSizeMin > len(r.b) {
		r.err = errTruncated
		return nil
	}
	reports := make([]DigestReport, count)
	for i := range reports {
		reports[i].Node = r.shortString()
		copy(reports[i].Hash[:], r.take(len(reports[i].Hash)))
		if i > 0 && reports[i].Node <= reports[i-1].Node && r.err == nil {
			r.err = errValue
		}
	}
	return reports
}

// CheckItem decodes an item wholly and reports the first fault. The leader has this checked before it admits an item from a stream: what is in the log must decode,
// and a feature level that this program does not know would end every replica like it.
func CheckItem(encoded []byte) error { return CheckItemAt(encoded, FeatureLevelMax) }

// CheckItemAt is CheckItem where the state is at a feature level: what that level does not have yet is a fault too, for a server that was just replaced by an
// older one would not decode it.
func CheckItemAt(encoded []byte, level uint32) error {
	kind, payload, rest, err := splitItem(encoded)
	if err != nil {
		return err
	}
	if len(rest) != 0 {
		return fmt.Errorf("fsm: %v: %w", kind, errTrailing)
	}
	it, err := decodeItem(kind, payload)
	if err != nil {
		return err
	}
	if it.level > FeatureLevelMax {
		return fmt.Errorf("fsm: %v %d: %w", kind, it.level, errValue)
	}
	if kind.level() > level {
		return fmt.Errorf("fsm: %v: %w", kind, errEarly)
	}
	for n, b := 0, it.commands; len(b) > 0; n++ {
		kind, ref, payload, rest, err := decodeCommandHead(b)
		if err == nil {
			err = checkCommand(kind, ref, payload)
		}
		if err == nil && kind.Level() > level {
			err = fmt.Errorf("fsm: %v: %w", kind, errEarly)
		}
		if err != nil {
			return fmt.Errorf("command %d of batch %d of %s, boot %d: %w", n, it.seq, it.Origin.Node, it.Origin.Boot, err)
		}
		b = rest
	}
	return nil
}

// BatchOrigin reads the origin and number of an encoded batch item; ok is false for other items.
func BatchOrigin(encoded []byte) (o Origin, seq uint64, ok bool) {
	kind, payload, _, err := splitItem(encoded)
	if err != nil || kind != itemBatch {
		return Origin{}, 0, false
	}
	it, err := decodeItem(kind, payload)
	return it.Origin, it.seq, err == nil
}
