package mux

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"io"
)

const macSize = sha256.Size

// DeriveKey returns a 32-byte key for one purpose from the cluster secret, so that no two purposes share a key.
func DeriveKey(secret []byte, purpose string) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("triagemq " + purpose + " v1"))
	return mac.Sum(nil)
}

// transcript is what a proof covers: both messages, so both nonces, and with them the keys for the session that follows; and, where the handshake itself runs
// inside TLS, a value that only the two ends of that very session share (RFC 9266). Without the latter, somebody with a certificate and without the secret
// could sit in the middle, hold a session with either side, and pass the proofs on.
type transcript struct {
	hello, welcome []byte
	channel        []byte // nil outside TLS
}

// proof is a side's evidence that it knows the secret. The role in it makes one that is reflected from a second connection useless.
func (t *transcript) proof(key []byte, role string) []byte {
	mac := hmac.New(sha256.New, key)
	parts := [][]byte{[]byte(role), t.hello, t.welcome}
	if t.channel != nil {
		parts = append(parts, t.channel)
	}
	for _, part := range parts {
		sum := sha256.Sum256(part)
		mac.Write(sum[:])
	}
	return mac.Sum(nil)
}

// readProof reads the other side's proof and returns which of the keys it was made with; nil where it was none.
func (t *transcript) readProof(r io.Reader, keys [][]byte, role string) (key []byte, err error) {
	var got [macSize]byte
	if _, err := io.ReadFull(r, got[:]); err != nil {
		return nil, err
	}
	for _, k := range keys {
		if hmac.Equal(got[:], t.proof(k, role)) {
			return k, nil
		}
	}
	return nil, nil
}

func newNonce() (n [nonceSize]byte) {
	rand.Read(n[:]) // never fails (crypto/rand)
	return n
}
