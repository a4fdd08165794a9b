package cluster

import (
	"bytes"
	"slices"

	"github.com/hashicorp/memberlist"

	"github.com/triagemq/triagemq/transport/mux"
)

// gossipKeys are the keys of the gossip: the first encrypts, all decrypt.
func gossipKeys(trust *mux.Trust) (keys [][]byte) {
	for _, secret := range trust.Secrets() {
		keys = append(keys, mux.DeriveKey(secret, "gossip"))
	}
	return keys
}

// installKeys makes ring hold these keys in this order. memberlist reads the ring while it changes, and takes a key out by moving those behind it: in the very
// memory that a reader may be looking at, unless none is behind it. So what goes is brought to the end first.
func installKeys(ring *memberlist.Keyring, keys [][]byte) error {
	for _, k := range keys {
		if err := ring.AddKey(k); err != nil {
			return err
		}
	}
	if !slices.EqualFunc(ring.GetKeys()[:len(keys)], keys, bytes.Equal) {
		for _, k := range slices.Backward(keys) {
			if err := ring.UseKey(k); err != nil {
				return err
			}
		}
	}
	for have := ring.GetKeys(); len(have) > len(keys); have = ring.GetKeys() {
		if err := ring.RemoveKey(have[len(have)-1]); err != nil {
			return err
		}
	}
	return nil
}
