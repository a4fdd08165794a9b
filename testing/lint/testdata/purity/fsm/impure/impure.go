package impure

import (
	"maps"
	"math"
	"os"   // want "must not import os"
	"sync" // want "must not import sync"
	"time" // want "must not import time"

	"github.com/triagemq/triagemq/fsm/pure"
)

type table[K comparable, V any] struct{ m map[K]V }

func clock() int64 { return time.Now().UnixNano() }

func environment(mu *sync.Mutex) string { return os.Getenv("HOME") }

func concurrent(c chan int) { // want "a channel in fsm"
	go clock() // want "a goroutine in fsm"
	c <- 1     // want "a channel in fsm"
	select {   // want "a channel in fsm"
	default:
	}
}

func floats(n int) int {
	const half = 0.5               // want "a float in fsm"
	return int(math.Sqrt(2)) + n/2 // want "a float in fsm"
}

func orders(n pure.Numbers, t table[string, int]) (sum int) {
	for _, v := range n { // want "a range in map order"
		sum += v
	}
	for _, v := range t.m { // want "a range in map order"
		sum += v
	}
	//fsm:unordered
	for k := range maps.Keys(n) { // want "a range in map order"
		sum += len(k)
	}
	for _, v := range maps.All(n) { // want "a range in map order"
		sum += v
	}
	return sum
}

func generic[M ~map[K]V, K comparable, V any](m M) (n int) {
	for range m { // want "a range in map order"
		n++
	}
	return n
}
