package broker

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"testing"
)

func legacyHash(algorithm, password string) string {
	salted := append([]byte{1, 2, 3, 4}, password...)
	digest := sha256.Sum256(salted)
	sum := digest[:]
	if algorithm == HashingSHA512 {
		long := sha512.Sum512(salted)
		sum = long[:]
	}
	return base64.StdEncoding.EncodeToString(append([]byte{1, 2, 3, 4}, sum...))
}

func TestHashPassword(t *testing.T) {
	h, err := HashPassword("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	other, _ := HashPassword("correct horse")
	if h.Hash == other.Hash {
		t.Error("two hashes of one password are the same: no salt")
	}
	if err := h.Validate(); err != nil {
		t.Error(err)
	}
	if !h.matches("correct horse") || h.matches("correct hors") || h.matches("") {
		t.Error("the hash matches the wrong passwords")
	}
}

// The vectors are RabbitMQ's own form: salt 0x01020304 before the digest of salt and "secret".
func TestForeignHashes(t *testing.T) {
	for _, c := range []struct {
		name string
		hash PasswordHash
		ok   bool
	}{
		{"sha256", PasswordHash{Hash: legacyHash(HashingSHA256, "secret"), Algorithm: HashingSHA256}, true},
		{"sha512", PasswordHash{Hash: legacyHash(HashingSHA512, "secret"), Algorithm: HashingSHA512}, true},
		{"documented example", PasswordHash{Hash: "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", Algorithm: HashingSHA256}, false},
		{"another algorithm's", PasswordHash{Hash: legacyHash(HashingSHA256, "secret"), Algorithm: HashingSHA512}, false},
		{"unknown algorithm", PasswordHash{Hash: legacyHash(HashingSHA256, "secret"), Algorithm: "rabbit_password_hashing_md5"}, false},
		{"no password", PasswordHash{Algorithm: HashingSHA256}, false},
		{"not base64", PasswordHash{Hash: "%", Algorithm: HashingSHA256}, false},
	} {
		if got := c.hash.matches("secret"); got != c.ok {
			t.Errorf("%s: matches %v, want %v", c.name, got, c.ok)
		}
	}
}

// RabbitMQ's documentation hashes "test12" with the salt 0x908DC60A.
func TestForeignHashOfTheDocumentation(t *testing.T) {
	h := PasswordHash{Hash: "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", Algorithm: HashingSHA256}
	if !h.matches("test12") {
		t.Error("the documented hash does not match its password")
	}
}
