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

// proof is a side's evidence that it knows the secret. It covers both messages, so both nonces, and the role, so that neither an old proof nor one
// reflected from a second connection is of use.
func proof(key []byte, role string, helloFrame, welcomeFrame []byte) []byte {
	mac := hmac.New(sha256.New, key)
	for _, part := range [][]byte{[]byte(role), helloFrame, welcomeFrame} {
		sum := sha256.Sum256(part)
		mac.Write(sum[:])
	}
	return mac.Sum(nil)
}

// readProof reads the other side's proof and reports whether it is right.
func readProof(r io.Reader, want []byte) (bool, error) {
	var got [macSize]byte
	if _, err := io.ReadFull(r, got[:]); err != nil {
		return false, err
	}
	return hmac.Equal(got[:], want), nil
}

func newNonce() (n [nonceSize]byte) {
	rand.Read(n[:]) // never fails (crypto/rand)
	return n
}
