package broker

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
)

// PasswordHash is a password as it is stored and replicated, in the words of RabbitMQ's definitions. It is a secret all the same: it never appears in a log.
type PasswordHash struct {
	Hash      string // base64 of what Algorithm says; "" = there is no password, and no login with one
	Algorithm string // one of the names below
}

// Names of password hashing algorithms. Hashes are made with the first; the others are verified, because definitions of RabbitMQ carry them.
const (
	HashingPBKDF2 = "triagemq_password_hashing_pbkdf2_sha512" // iterations (4 octets, big-endian), salt (16), PBKDF2-HMAC-SHA512 (32)
	HashingSHA256 = "rabbit_password_hashing_sha256"          // salt (4 octets), SHA-256 of salt and password
	HashingSHA512 = "rabbit_password_hashing_sha512"          // salt (4 octets), SHA-512 of salt and password
)

// The cost of a login: about 100 ms of one core. It is stored with each hash, so that it can be raised later.
const (
	hashIterations    = 210_000
	hashIterationsMax = 10_000_000 // what a definition may ask of this node: some seconds
	saltBytes         = 16
	keyBytes          = 32
	legacySaltBytes   = 4
)

// ErrInvalid says that what an operator asked for makes no sense.
var ErrInvalid = errors.New("invalid")

var errPasswordHash = fmt.Errorf("%w password hash", ErrInvalid)

// HashPassword hashes a password with a new salt. It takes about 100 ms. Any goroutine.
func HashPassword(password string) (PasswordHash, error) {
	return hashPassword(password, hashIterations)
}

func hashPassword(password string, iterations int) (PasswordHash, error) {
	b := make([]byte, 4+saltBytes, 4+saltBytes+keyBytes)
	binary.BigEndian.PutUint32(b, uint32(iterations))
	if _, err := rand.Read(b[4:]); err != nil {
		return PasswordHash{}, err
	}
	key, err := pbkdf2.Key(sha512.New, password, b[4:], iterations, keyBytes)
	if err != nil {
		return PasswordHash{}, err
	}
	return PasswordHash{Hash: base64.StdEncoding.EncodeToString(append(b, key...)), Algorithm: HashingPBKDF2}, nil
}

// dummyHash is one that no password matches, as slow to compare with as a real one.
func dummyHash(iterations int) PasswordHash {
	b := make([]byte, 4+saltBytes+keyBytes)
	binary.BigEndian.PutUint32(b, uint32(iterations))
	return PasswordHash{Hash: base64.StdEncoding.EncodeToString(b), Algorithm: HashingPBKDF2}
}

// Validate reports whether passwords can be compared with the hash; the empty hash is valid.
func (h PasswordHash) Validate() error {
	if h.Hash == "" {
		return nil
	}
	_, err := h.parse()
	return err
}

// matches compares a password with the hash. An empty or invalid hash matches nothing.
func (h PasswordHash) matches(password string) bool {
	p, err := h.parse()
	if err != nil {
		return false
	}
	got, err := p.derive(password)
	return err == nil && subtle.ConstantTimeCompare(got, p.key) == 1
}

// parsedHash is a PasswordHash taken apart.
type parsedHash struct {
	iterations int              // 0: one round of legacy over salt and password
	legacy     func() hash.Hash // of RabbitMQ's algorithms
	salt, key  []byte
}

func (h PasswordHash) parse() (p parsedHash, err error) {
	b, err := base64.StdEncoding.DecodeString(h.Hash)
	if err != nil {
		return p, fmt.Errorf("%w: %w", errPasswordHash, err)
	}
	switch h.Algorithm {
	case HashingPBKDF2:
		return parsePBKDF2(b)
	case HashingSHA256:
		return parseLegacy(b, sha256.New)
	case HashingSHA512:
		return parseLegacy(b, sha512.New)
	}
	return p, fmt.Errorf("%w: unknown algorithm %q", errPasswordHash, h.Algorithm)
}

func parsePBKDF2(b []byte) (p parsedHash, err error) {
	if len(b) != 4+saltBytes+keyBytes {
		return p, fmt.Errorf("%w: %d octets", errPasswordHash, len(b))
	}
	p.iterations = int(binary.BigEndian.Uint32(b))
	if p.iterations < 1 || p.iterations > hashIterationsMax {
		return p, fmt.Errorf("%w: %d iterations", errPasswordHash, p.iterations)
	}
	p.salt, p.key = b[4:4+saltBytes], b[4+saltBytes:]
	return p, nil
}

func parseLegacy(b []byte, algorithm func() hash.Hash) (p parsedHash, err error) {
	if len(b) != legacySaltBytes+algorithm().Size() {
		return p, fmt.Errorf("%w: %d octets", errPasswordHash, len(b))
	}
	return parsedHash{legacy: algorithm, salt: b[:legacySaltBytes], key: b[legacySaltBytes:]}, nil
}

func (p *parsedHash) derive(password string) ([]byte, error) {
	if p.legacy == nil {
		return pbkdf2.Key(sha512.New, password, p.salt, p.iterations, len(p.key))
	}
	h := p.legacy()
	h.Write(p.salt)
	h.Write([]byte(password))
	return h.Sum(nil), nil
}
