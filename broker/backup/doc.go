// Package backup is the file that `triagemq backup` makes: a state of the broker with what is needed to trust it, checked while it is read.
//
//	"TMQB" | version u8 | header length u32 | header, JSON | CRC32C u32        of all before it
//	section: length u32, 1 to 1 MiB | bytes | CRC32C u32 of length and bytes    as many as there are
//	0 u32 | length of the sections' bytes u64 | SHA-256, 32 bytes               of all before it
//
// Integers are big-endian. What the sections hold is fsm's snapshot. A file that was cut, altered or followed by something is an error of Reader; a Reader that
// returned io.EOF has seen all of it. The SHA-256 finds faults, not forgeries: whoever can write the file can write its trailer.
//
// The node writes it (broker.Node), the command line checks and restores it; nothing here knows of either. Nothing here starts a goroutine or buffers more than a
// section. Start reading at Writer.
package backup
