package broken // want "does not type-check"

func f() int { return "no number" }
