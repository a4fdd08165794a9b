package a

import (
	"errors"
	"regexp"
	"sync"
	"sync/atomic"
)

var (
	errA     = errors.New("a")
	pattern  = regexp.MustCompile("a")
	table    = map[string]int{"a": 1}
	pool     = sync.Pool{New: func() any { return new(sync.Mutex) }}
	version  = "dev"
	counter  int
	names    = []string{"a"}
	options  struct{ n int }
	registry = map[string]int{}
	current  int
	shared   int

	_ error = errA
)

var mu sync.Mutex // want "mu is made to be changed"

var hits atomic.Int64 // want "hits is made to be changed"

var wake = make(chan int) // want "wake is made to be changed"

func init() { // want "an init function"
}

type t struct{}

func (t) init() {}

func change() {
	counter++               // want "counter is changed"
	names[0] = "b"          // want "names is changed"
	options.n = 1           // want "options is changed"
	delete(registry, "a")   // want "registry is changed"
	for current = range 3 { // want "current is changed"
	}
	table := map[string]int{}
	table["b"] = 2
	version := "x"
	version = "y"
	_, _ = table, version
	_, _, _, _, _ = pattern, &pool, mu, &hits, wake // want "pool is changed" // want "hits is changed"
}
