package cluster

import (
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// raftLog passes raft's own messages on one level lower, because raft calls an error what heals by itself, and lets each warning through once in ten
// seconds: a dead server is worth one line, not one for every heartbeat.
type raftLog struct {
	hclog.Logger
	seen *seenWarnings
}

type seenWarnings struct {
	mu   sync.Mutex // guards last
	last map[string]time.Time
}

const (
	warningInterval = 10 * time.Second
	warningsKept    = 256
)

func newRaftLog(l hclog.Logger) hclog.Logger {
	return &raftLog{Logger: l, seen: &seenWarnings{last: map[string]time.Time{}}}
}

// due says whether a warning was not given lately. The servers that it names are part of what it says.
func (s *seenWarnings) due(msg string, args []any) bool {
	key := msg
	for i := 0; i+1 < len(args); i += 2 {
		if k := args[i]; k == "peer" || k == "server-id" {
			key += fmt.Sprint(args[i+1])
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Sub(s.last[key]) < warningInterval {
		return false
	}
	if len(s.last) >= warningsKept {
		clear(s.last)
	}
	s.last[key] = now
	return true
}

// Error warns.
func (l *raftLog) Error(msg string, args ...any) {
	if l.seen.due(msg, args) {
		l.Logger.Warn(msg, args...)
		return
	}
	l.Logger.Debug(msg, args...)
}

// Warn informs.
func (l *raftLog) Warn(msg string, args ...any) {
	if l.seen.due(msg, args) {
		l.Logger.Info(msg, args...)
		return
	}
	l.Logger.Debug(msg, args...)
}

// Info is for debugging.
func (l *raftLog) Info(msg string, args ...any) { l.Logger.Debug(msg, args...) }

// Debug is for tracing.
func (l *raftLog) Debug(msg string, args ...any) { l.Logger.Trace(msg, args...) }

// Log maps levels as the methods do.
func (l *raftLog) Log(level hclog.Level, msg string, args ...any) {
	switch level {
	case hclog.Error:
		l.Error(msg, args...)
	case hclog.Warn:
		l.Warn(msg, args...)
	case hclog.Info:
		l.Info(msg, args...)
	default:
		l.Debug(msg, args...)
	}
}

// With keeps the mapping.
func (l *raftLog) With(args ...any) hclog.Logger { return &raftLog{l.Logger.With(args...), l.seen} }

// Named keeps the mapping.
func (l *raftLog) Named(name string) hclog.Logger { return &raftLog{l.Logger.Named(name), l.seen} }

// ResetNamed keeps the mapping.
func (l *raftLog) ResetNamed(name string) hclog.Logger {
	return &raftLog{l.Logger.ResetNamed(name), l.seen}
}
