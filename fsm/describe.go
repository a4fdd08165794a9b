package fsm

import "fmt"

// EntryInfo is a log entry, decoded for people and tools. What it holds aliases the encoded entry.
type EntryInfo struct {
	TimeMillis int64 // the leader's stamp: Unix milliseconds of the virtual clock
	Items      []ItemInfo
}

// ItemInfo is one item of an entry. Fields that its kind does not have are zero.
type ItemInfo struct {
	Kind      string // batch, origin open, origin down, tick, mark, verify, feature level
	SizeBytes int    // encoded, with its head
	Origin    Origin // of a batch, origin open, origin down
	Seq       uint64 // of a batch
	Commands  []CommandInfo
	MarkIndex uint64 // of a verify, as Voters and Reports
	Voters    int
	Reports   []DigestReport
	Level     uint32 // of a feature level
}

// CommandInfo is one command of a batch.
type CommandInfo struct {
	Kind      CommandKind
	SizeBytes int     // encoded, with its head
	Command   Command // a pointer to Publish, Ack, …
}

// DecodeEntry decodes a log entry wholly. An entry of a newer encoding, or a damaged one, is an error; what was decoded before the fault is returned with it.
func DecodeEntry(b []byte) (EntryInfo, error) {
	timeMillis, items, err := openEntry(b)
	info := EntryInfo{TimeMillis: timeMillis}
	for err == nil {
		before := len(items.b)
		it, ok, failed := items.next()
		if err = failed; !ok || err != nil {
			break
		}
		one := ItemInfo{
			Kind: it.kind.String(), SizeBytes: before - len(items.b), Origin: it.Origin, Seq: it.seq, MarkIndex: it.markIndex, Voters: it.voters,
			Reports: it.reports, Level: it.level,
		}
		one.Commands, err = DecodeCommands(it.commands)
		info.Items = append(info.Items, one)
	}
	return info, err
}

// DecodeCommands decodes a concatenation of commands, as a batch and a Tx hold it. With an error come the commands before the faulty one.
func DecodeCommands(b []byte) (commands []CommandInfo, err error) {
	for len(b) > 0 {
		kind, ref, payload, rest, err := decodeCommandHead(b)
		if err != nil {
			return commands, err
		}
		c := newCommand(kind)
		if c == nil {
			return commands, fmt.Errorf("fsm: command: %w %d", errKind, kind)
		}
		if err := c.decode(ref, payload); err != nil {
			return commands, err
		}
		commands = append(commands, CommandInfo{Kind: kind, SizeBytes: len(b) - len(rest), Command: c})
		b = rest
	}
	return commands, nil
}
