// Package b has a comment.
package b
