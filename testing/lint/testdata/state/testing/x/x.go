package x

var n int

func count() { n++ }
