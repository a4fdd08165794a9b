package a

var counted int

func init() { counted++ }
