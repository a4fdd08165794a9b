package main

import (
	"bytes"
	"os"
	"testing"
)

// TestOutputIsCurrent fails when spec.go changed and nobody ran go generate.
func TestOutputIsCurrent(t *testing.T) {
	want, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../methods_gen.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("methods_gen.go is stale: run go generate ./transport/wire")
	}
}
