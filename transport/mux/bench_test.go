package mux

import (
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// BenchmarkStream is a log entry of 64 KiB on its way over a connection of the peer port, plain and sealed. cpu-µs counts both ends.
func BenchmarkStream(b *testing.B) {
	sealed, err := NewTrust(secrets("s"))
	if err != nil {
		b.Fatal(err)
	}
	for name, trust := range map[string]*Trust{"plain": nil, "sealed": sealed} {
		b.Run(name, func(b *testing.B) {
			from, to := openBench(b, "from", trust), openBench(b, "to", trust)
			l, err := to.Listener(ProtocolRaft)
			if err != nil {
				b.Fatal(err)
			}
			out, err := from.Dial(b.Context(), to.Addr().String(), ProtocolRaft, "to")
			if err != nil {
				b.Fatal(err)
			}
			in, err := l.Accept()
			if err != nil {
				b.Fatal(err)
			}
			entry := make([]byte, 64<<10)
			b.SetBytes(int64(len(entry)))
			read := make(chan error, 1)
			before := cpu(b)
			b.ResetTimer()
			go func() {
				_, err := io.CopyN(io.Discard, in, int64(b.N)*int64(len(entry)))
				read <- err
			}()
			for range b.N {
				if _, err := out.Write(entry); err != nil {
					b.Fatal(err)
				}
			}
			if err := <-read; err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// BenchmarkHandshake is a connection from dial to accept.
func BenchmarkHandshake(b *testing.B) {
	sealed, err := NewTrust(secrets("s"))
	if err != nil {
		b.Fatal(err)
	}
	for name, trust := range map[string]*Trust{"plain": nil, "sealed": sealed} {
		b.Run(name, func(b *testing.B) {
			from, to := openBench(b, "from", trust), openBench(b, "to", trust)
			l, err := to.Listener(ProtocolRaft)
			if err != nil {
				b.Fatal(err)
			}
			before := cpu(b)
			for b.Loop() {
				out, err := from.Dial(b.Context(), to.Addr().String(), ProtocolRaft, "to")
				if err != nil {
					b.Fatal(err)
				}
				in, err := l.Accept()
				if err != nil {
					b.Fatal(err)
				}
				out.Close()
				in.Close()
			}
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

func openBench(b *testing.B, server string, trust *Trust) *Port {
	p, err := Open(Config{
		Addr: "127.0.0.1:0", Trust: trust, Logger: hclog.NewNullLogger(), Local: func() Identity { return Identity{Cluster: "c", Server: server} },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.Close() })
	return p
}

// cpu is what this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
