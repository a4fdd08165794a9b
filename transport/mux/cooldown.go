package mux

import (
	"sync"
	"time"
)

// Cooldown lets each kind of log line through once a minute: a misconfigured neighbour knocks several times a second, for as long as nobody mends it. The
// zero value is ready; its method may be called by several goroutines.
type Cooldown struct {
	mu   sync.Mutex // guards last
	last map[string]time.Time
}

const (
	cooldown     = time.Minute
	cooldownKeys = 256 // remembered; a crowd of liars may make some lines repeat
)

// Over reports whether a line of this kind is due, and takes it that the line is written then.
func (c *Cooldown) Over(kind string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if last, ok := c.last[kind]; ok && now.Sub(last) < cooldown {
		return false
	}
	if c.last == nil || len(c.last) >= cooldownKeys {
		c.last = map[string]time.Time{}
	}
	c.last[kind] = now
	return true
}
