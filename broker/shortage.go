package broker

import "time"

// Above the second threshold memory is short: halfway between the watermark, where publishers are held, and the limit, where the kernel kills. What is on its way
// passes it for moments; what stays above it was declared and not published. Above three quarters of the way nobody waits to see.
const shortAfter = 300 * time.Millisecond

// shortage tells whether memory has been above the second threshold at every look of shortAfter, or is far above it. It belongs to the sampler.
type shortage struct {
	since time.Time // of the first of these looks; zero: the last one was below
}

func (s *shortage) judge(m *measurement, now time.Time) (short bool) {
	rest := m.memory.LimitBytes - m.watermarkBytes
	if m.memory.OwnBytes <= m.watermarkBytes+rest/2 {
		s.since = time.Time{}
		return false
	}
	if s.since.IsZero() {
		s.since = now
	}
	return now.Sub(s.since) >= shortAfter || m.memory.OwnBytes > m.watermarkBytes+rest/4*3
}

// MemoryShort says that this node has so little memory left that nothing may be declared that is not there yet: queues, exchanges and bindings stay, and no
// consumer drains them. Holding publishers does not help against these. Any goroutine.
func (n *Node) MemoryShort() bool { return n.short.Load() }

// judgeShortage follows a look at memory.
func (n *Node) judgeShortage(s *shortage, m *measurement) {
	short := s.judge(m, time.Now())
	if n.short.Swap(short) != short {
		n.logger.Warn("memory is short: new queues, exchanges and bindings are refused while it is", "short", short,
			"memory_bytes", m.memory.OwnBytes, "memory_watermark_bytes", m.watermarkBytes, "memory_limit_bytes", m.memory.LimitBytes)
	}
}
