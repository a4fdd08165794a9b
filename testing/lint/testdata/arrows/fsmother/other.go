package fsmother // want "no place in the architecture"
