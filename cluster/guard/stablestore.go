package guard

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

var _ raft.StableStore = (*StableStore)(nil)

// errNotFound has the one text by which raft recognises a key that was never set.
var errNotFound = errors.New("not found")

// Raft's keys of the vote.
const (
	keyVoteTerm      = "LastVoteTerm"
	keyVoteCandidate = "LastVoteCand"
)

// Values lie in the inner store under sealedPrefix + key, the vote under the key sealedVote, each as
//
//	byte 0       sealVersion
//	then         the value; an integer is 8 bytes, big endian; the vote is its term (8 bytes, big endian) and the candidate
//	last 4 bytes CRC32C, big endian, over the inner key, the version byte and the value
const (
	sealedPrefix = "sealed/"
	sealedVote   = "sealed-vote"
)

// StableStore is a raft.StableStore around another one, for raft's current term and vote.
//
// Raft stores a vote in two writes, first its term, then the candidate. When the process ends between the two, the term of the new election stands beside the
// candidate of an older one. If that candidate asks in the new term, the voter takes it for a repeated request and grants it without looking at the
// candidate's log: an outdated node is elected over committed entries. Here the term is held back and written with the candidate, as one record.
//
// Every value carries a checksum: a flipped bit in the term or the vote would make the node vote twice. A value that does not match is an error that wraps
// ErrCorrupt; raft then does not start, or grants no vote. Where nothing was stored yet, values that raft wrote to the inner store without this wrapper
// are read. A write that fails or hangs is fatal, see LogStoreConfig.Fatal.
type StableStore struct {
	inner raft.StableStore
	dog   *watchdog

	mu          sync.Mutex // serialises writers; guards pendingTerm
	pendingTerm *uint64    // term of a vote whose candidate is still to come
}

// NewStableStore wraps inner, which stays the caller's to close.
func NewStableStore(inner raft.StableStore, writeBound time.Duration, fatal func(error)) *StableStore {
	return &StableStore{inner: inner, dog: newWatchdog(writeBound, fatal)}
}

// SetUint64 stores an integer durably, except LastVoteTerm, which Set stores with LastVoteCand.
func (s *StableStore) SetUint64(key []byte, val uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if string(key) == keyVoteTerm {
		if err := s.dog.err(); err != nil {
			return err
		}
		s.pendingTerm = &val
		return nil
	}
	return s.write(sealedPrefix+string(key), binary.BigEndian.AppendUint64(nil, val))
}

// Set stores a value durably. LastVoteCand needs a LastVoteTerm before it.
func (s *StableStore) Set(key, val []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if string(key) != keyVoteCandidate {
		return s.write(sealedPrefix+string(key), val)
	}
	if s.pendingTerm == nil {
		return errors.New("guard: a vote's candidate without its term")
	}
	vote := append(binary.BigEndian.AppendUint64(nil, *s.pendingTerm), val...)
	s.pendingTerm = nil
	return s.write(sealedVote, vote)
}

// Get returns a value, or an error with the text "not found".
func (s *StableStore) Get(key []byte) ([]byte, error) {
	if string(key) == keyVoteCandidate {
		vote, err := s.vote()
		if err == nil {
			return vote[8:], nil
		}
		return s.unsealed(key, err)
	}
	val, err := s.read(sealedPrefix + string(key))
	if err != nil {
		return s.unsealed(key, err)
	}
	return val, nil
}

// GetUint64 returns an integer, or an error with the text "not found". A vote's term shows once its candidate is stored.
func (s *StableStore) GetUint64(key []byte) (uint64, error) {
	val, err := s.integer(key)
	if err == errNotFound {
		val, err := s.inner.GetUint64(key)
		return val, absent(err)
	}
	if err == nil && len(val) != 8 {
		err = fmt.Errorf("%w: %s has %d bytes, not those of an integer", ErrCorrupt, key, len(val))
	}
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(val), nil
}

func (s *StableStore) integer(key []byte) ([]byte, error) {
	if string(key) != keyVoteTerm {
		return s.read(sealedPrefix + string(key))
	}
	vote, err := s.vote()
	if err != nil {
		return nil, err
	}
	return vote[:8], nil
}

func (s *StableStore) vote() ([]byte, error) {
	vote, err := s.read(sealedVote)
	if err == nil && len(vote) < 8 {
		return nil, fmt.Errorf("%w: the vote has %d bytes", ErrCorrupt, len(vote))
	}
	return vote, err
}

// unsealed falls back to what the inner store has under raft's own key, if cause is that there is no sealed value.
func (s *StableStore) unsealed(key []byte, cause error) ([]byte, error) {
	if cause != errNotFound {
		return nil, cause
	}
	val, err := s.inner.Get(key)
	if err := absent(err); err != nil {
		return nil, err
	}
	if len(val) == 0 {
		return nil, errNotFound
	}
	return val, nil
}

func (s *StableStore) write(innerKey string, val []byte) error {
	sealed := append(append(make([]byte, 0, len(val)+5), sealVersion), val...)
	sealed = binary.BigEndian.AppendUint32(sealed, sealedSum(innerKey, sealed))
	return s.dog.do("store "+innerKey, func() error { return s.inner.Set([]byte(innerKey), sealed) })
}

func (s *StableStore) read(innerKey string) ([]byte, error) {
	var sealed []byte
	err := faultsAsErrors(func() (err error) {
		sealed, err = s.inner.Get([]byte(innerKey))
		return err
	})
	if err := absent(err); err != nil {
		return nil, err
	}
	if len(sealed) == 0 {
		return nil, errNotFound
	}
	body := sealed[:max(0, len(sealed)-4)]
	if len(body) == 0 || body[0] != sealVersion || binary.BigEndian.Uint32(sealed[len(body):]) != sealedSum(innerKey, body) {
		return nil, fmt.Errorf("%w: %s does not match its checksum", ErrCorrupt, innerKey)
	}
	return bytes.Clone(body[1:]), nil
}

func sealedSum(innerKey string, body []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(innerKey), castagnoli), castagnoli, body)
}

// absent unifies how stores say that a key was never set.
func absent(err error) error {
	if err != nil && err.Error() == errNotFound.Error() {
		return errNotFound
	}
	return err
}
