package node

// budget shares out the memory that the watermark leaves free: what is on its way takes memory beside the messages that queues hold, and publishers are stopped
// only when these have reached the watermark. Where there is plenty every part has the size that performs best; a small limit makes them smaller.
type budget struct {
	messageBytesMax  int   // the largest message: it is in half a dozen places at once on the leader
	logCacheBytes    int64 // recent entries of the log
	appendEntriesMax int   // entries that are read at once for a follower that is behind
	pendingBytes     int   // commands that wait for a batch, over all connections
	intakeBytes      int   // large messages that are being received, over all connections
	transactionBytes int   // transactions that are not committed, over all connections
	httpBytes        int   // bodies of HTTP requests, over all of them
	connectionsMax   int   // connections, at what one may hold while it is below every other bound
}

const (
	connectionBytes = 96 << 10 // stacks, buffers and the socket's of one that is busy with small messages
	connectionsPart = 2        // of the limit, for connections
	messagePart     = 32       // of the limit, for the largest message, and for all that are being received
)

func budgetOf(limitBytes int64) budget {
	part := func(of, least, most int64) int64 { return min(max(limitBytes/of, least), most) }
	return budget{
		messageBytesMax:  int(part(messagePart, 1<<20, 16<<20)),
		appendEntriesMax: int(part(256<<20, 2, 8)),
		logCacheBytes:    part(32, 4<<20, 32<<20),
		pendingBytes:     int(part(32, 4<<20, 256<<20)),
		intakeBytes:      int(part(messagePart, 1<<20, 256<<20)),
		transactionBytes: int(part(16, 1<<20, 256<<20)),
		httpBytes:        int(part(16, 4<<20, 256<<20)),
		connectionsMax:   int(part(connectionBytes*connectionsPart, 256, 1<<20)),
	}
}
