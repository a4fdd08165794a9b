package a

func address() *int { return &shared } // want "shared is changed"

func reads() (int, error) { return table["a"], errA }
