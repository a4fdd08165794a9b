package skew

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Types of entries in the auxiliary vector (getauxval(3), <elf.h>).
const (
	atNull        = 0
	atIgnore      = 1
	atSysinfoEHDR = 33 // where the vDSO lies
)

// The kernel leaves on the stack of a new program, upwards from its stack pointer:
//
//	argc | argv[0] … argv[argc-1] | 0 | environment … | 0 | (type, value) … | (AT_NULL, 0)
//
// each in words of eight bytes. hideVDSO has the entry of the vDSO ignored; the program must stand at its first instruction.
func hideVDSO(pid int) error {
	var registers unix.PtraceRegs
	if err := unix.PtraceGetRegs(pid, &registers); err != nil {
		return os.NewSyscallError("ptrace getregs", err)
	}
	s := stack{pid: pid, at: uintptr(registers.Rsp)}
	argc := s.next()
	s.at += 8 * uintptr(argc+1)
	for s.next() != 0 { // the environment
	}
	for s.err == nil {
		switch here := s.at; s.next() {
		case atNull:
			return errors.Join(s.err, errors.New("skew: the program has no vDSO to hide"))
		case atSysinfoEHDR:
			_, err := unix.PtracePokeData(pid, here, binary.LittleEndian.AppendUint64(nil, atIgnore))
			return os.NewSyscallError("ptrace poke", err)
		}
		s.next() // the value
	}
	return s.err
}

// stack reads words upwards from at. After an error all words are 0.
type stack struct {
	pid int
	at  uintptr
	err error
}

func (s *stack) next() uint64 {
	var word [8]byte
	if _, err := unix.PtracePeekData(s.pid, s.at, word[:]); err != nil && s.err == nil {
		s.err = fmt.Errorf("reading the stack at %#x: %w", s.at, err)
	}
	s.at += 8
	if s.err != nil {
		return 0
	}
	return binary.LittleEndian.Uint64(word[:])
}
