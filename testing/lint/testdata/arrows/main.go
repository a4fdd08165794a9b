package triagemq // want "no place in the architecture"
