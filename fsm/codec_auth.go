package fsm

// Encodings of the commands of operators: virtual hosts, users, what they may do, ends of sessions.

// Append implements Command.
func (c *EndSession) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindEndSession, c.Ref)
	dst = appendShort(dst, c.Node)
	dst = appendUint64(dst, c.Boot)
	dst = appendUint32(dst, c.Conn)
	dst = appendLong(dst, c.Reason)
	return endCommand(dst, start, 0)
}

func (c *EndSession) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	*c = EndSession{Ref: ref, Node: r.shortString(), Boot: r.uint64(), Conn: r.uint32(), Reason: r.longString()}
	return r.end(KindEndSession)
}

// Append implements Command.
func (c *PutVHost) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindPutVHost, c.Ref)
	dst = appendShort(dst, c.Name)
	dst = appendLong(dst, c.Description)
	dst = appendShort(dst, c.DefaultQueueType)
	dst = appendShort(dst, c.Creator)
	dst = appendShorts(dst, c.Tags)
	return endCommand(dst, start, 0)
}

func (c *PutVHost) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	*c = PutVHost{
		Ref: ref, Name: r.shortString(), Description: r.longString(), DefaultQueueType: r.shortString(), Creator: r.shortString(), Tags: r.shortStrings(),
	}
	return r.end(KindPutVHost)
}

// Append implements Command.
func (c *DeleteVHost) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindDeleteVHost, c.Ref)
	dst = appendShort(dst, c.Name)
	return endCommand(dst, start, 0)
}

func (c *DeleteVHost) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	*c = DeleteVHost{Ref: ref, Name: r.shortString()}
	return r.end(KindDeleteVHost)
}

// Append implements Command.
func (c *PutVHostLimits) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindPutVHostLimits, c.Ref)
	dst = appendShort(dst, c.VHost)
	dst = appendUint64(dst, uint64(c.MaxConnections))
	dst = appendUint64(dst, uint64(c.MaxQueues))
	return endCommand(dst, start, 0)
}

func (c *PutVHostLimits) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	*c = PutVHostLimits{Ref: ref, VHost: r.shortString(), MaxConnections: r.int64(), MaxQueues: r.int64()}
	return r.end(KindPutVHostLimits)
}

// Append implements Command.
func (c *InitUsers) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindInitUsers, c.Ref)
	dst = appendShort(dst, c.Name)
	dst = appendLong(dst, c.Hash)
	dst = appendShort(dst, c.Algorithm)
	return endCommand(dst, start, 0)
}

func (c *InitUsers) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	*c = InitUsers{Ref: ref, Name: r.shortString(), Hash: r.longString(), Algorithm: r.shortString()}
	return r.end(KindInitUsers)
}

// Append implements Command.
func (c *PutUser) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindPutUser, c.Ref)
	dst = appendShort(dst, c.Name)
	dst = appendLong(dst, c.Hash)
	dst = appendShort(dst, c.Algorithm)
	dst = appendShorts(dst, c.Tags)
	return endCommand(dst, start, 0)
}

func (c *PutUser) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	*c = PutUser{Ref: ref, Name: r.shortString(), Hash: r.longString(), Algorithm: r.shortString(), Tags: r.shortStrings()}
	return r.end(KindPutUser)
}

// Append implements Command.
func (c *DeleteUser) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindDeleteUser, c.Ref)
	dst = appendShort(dst, c.Name)
	return endCommand(dst, start, 0)
}

func (c *DeleteUser) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	*c = DeleteUser{Ref: ref, Name: r.shortString()}
	return r.end(KindDeleteUser)
}

// Append implements Command.
func (c *PutUserLimits) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindPutUserLimits, c.Ref)
	dst = appendShort(dst, c.User)
	dst = appendUint64(dst, uint64(c.MaxConnections))
	dst = appendUint64(dst, uint64(c.MaxChannels))
	return endCommand(dst, start, 0)
}

func (c *PutUserLimits) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	*c = PutUserLimits{Ref: ref, User: r.shortString(), MaxConnections: r.int64(), MaxChannels: r.int64()}
	return r.end(KindPutUserLimits)
}

// Append implements Command.
func (c *PutPermission) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindPutPermission, c.Ref)
	dst = appendShort(dst, c.VHost)
	dst = appendShort(dst, c.User)
	dst = appendLong(dst, c.Configure)
	dst = appendLong(dst, c.Write)
	dst = appendLong(dst, c.Read)
	return endCommand(dst, start, 0)
}

func (c *PutPermission) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	*c = PutPermission{
		Ref: ref, VHost: r.shortString(), User: r.shortString(), Configure: r.longString(), Write: r.longString(), Read: r.longString(),
	}
	return r.end(KindPutPermission)
}

// Append implements Command.
func (c *DeletePermission) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindDeletePermission, c.Ref)
	dst = appendShort(dst, c.VHost)
	dst = appendShort(dst, c.User)
	return endCommand(dst, start, 0)
}

func (c *DeletePermission) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	*c = DeletePermission{Ref: ref, VHost: r.shortString(), User: r.shortString()}
	return r.end(KindDeletePermission)
}

// Append implements Command.
func (c *PutTopicPermission) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindPutTopicPermission, c.Ref)
	dst = appendShort(dst, c.VHost)
	dst = appendShort(dst, c.User)
	dst = appendShort(dst, c.Exchange)
	dst = appendLong(dst, c.Write)
	dst = appendLong(dst, c.Read)
	return endCommand(dst, start, 0)
}

func (c *PutTopicPermission) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	*c = PutTopicPermission{
		Ref: ref, VHost: r.shortString(), User: r.shortString(), Exchange: r.shortString(), Write: r.longString(), Read: r.longString(),
	}
	return r.end(KindPutTopicPermission)
}

// Append implements Command.
func (c *DeleteTopicPermission) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindDeleteTopicPermission, c.Ref)
	dst = append(dst, bits(c.AllExchanges))
	dst = appendShort(dst, c.VHost)
	dst = appendShort(dst, c.User)
	dst = appendShort(dst, c.Exchange)
	return endCommand(dst, start, 0)
}

func (c *DeleteTopicPermission) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	flags := r.flags(1)
	*c = DeleteTopicPermission{Ref: ref, AllExchanges: flags&1 != 0, VHost: r.shortString(), User: r.shortString(), Exchange: r.shortString()}
	return r.end(KindDeleteTopicPermission)
}
