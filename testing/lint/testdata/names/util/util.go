package util // want "a package named util"
