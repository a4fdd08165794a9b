package h // want "a package named helpers"
