// Package offline is the commands that work on files and data folders instead of a running node: restore, recover and inspect.
//
// restore and recover change a folder whose node is stopped, by cluster.RestoreFolder and cluster.RecoverFolder; inspect changes nothing and may look at a folder
// that is in use. The state machine is driven by a replica (replica.go), without a broker around it. Nothing here starts a goroutine. Start reading at recover.go.
package offline
