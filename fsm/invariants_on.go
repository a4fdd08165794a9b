//go:build invariants

package fsm

// invariants makes every Apply end with Check.
const invariants = true
