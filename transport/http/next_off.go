//go:build !nextlevel

package http

// nextRoutes are those of programs built with the tag nextlevel, which know one more feature level.
func nextRoutes() []route { return nil }
