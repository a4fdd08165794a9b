package conformance

import (
	"bufio"
	"fmt"
	"net"
	"testing"
)

// greeter answers every connection with its name, and then keeps it until the other side ends it.
func greeter(t *testing.T, name string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, name)
			go func() {
				defer c.Close()
				c.Read(make([]byte, 1))
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func TestBalancer(t *testing.T) {
	backends := []string{greeter(t, "a"), greeter(t, "b"), greeter(t, "c")}
	b, err := NewBalancer(backends, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	greeted := func() string {
		c, err := net.Dial("tcp", b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return line[:1]
	}
	order := ""
	for range 6 {
		order += greeted()
	}
	if order != "abcabc" {
		t.Errorf("spread over %s", order)
	}
	for _, backend := range backends {
		if n := b.Carried(backend); n != 2 {
			t.Errorf("%d connections to %s", n, backend)
		}
	}
	b.Avoid(backends[0])
	for range 4 {
		if got := greeted(); got == "a" {
			t.Error("went to the avoided backend")
		}
	}
}

func TestBalancerPassesOverDeadBackends(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	b, err := NewBalancer([]string{dead.Addr().String(), greeter(t, "a")}, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for range 3 {
		c, err := net.Dial("tcp", b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		if c.Close(); line != "a\n" {
			t.Fatalf("%q, %v", line, err)
		}
	}
}
