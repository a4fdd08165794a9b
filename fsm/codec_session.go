package fsm

// Encodings of the commands that open and close sessions and channels.

// Append implements Command.
func (c *OpenSession) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindOpenSession, c.Ref)
	dst = append(dst, bits(c.CancelNotify))
	dst = appendShort(dst, c.VHost)
	dst = appendLong(dst, c.User)
	dst = appendLong(dst, c.Name)
	dst = appendTable(dst, c.Details)
	return endCommand(dst, start, 0)
}

func (c *OpenSession) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	flags := r.flags(1)
	*c = OpenSession{
		Ref:          ref,
		CancelNotify: flags&1 != 0,
		VHost:        r.shortString(),
		User:         r.longString(),
		Name:         r.longString(),
		Details:      r.table(),
	}
	if len(c.Details) > DetailsBytesMax && r.err == nil {
		r.err = errTooLong
	}
	return r.end(KindOpenSession)
}

// Append implements Command.
func (c *CloseSession) Append(dst []byte) []byte {
	return endCommand(beginCommand(dst, KindCloseSession, c.Ref), len(dst), 0)
}

func (c *CloseSession) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	*c = CloseSession{Ref: ref}
	return r.end(KindCloseSession)
}

// Append implements Command.
func (c *OpenChannel) Append(dst []byte) []byte {
	return endCommand(beginCommand(dst, KindOpenChannel, c.Ref), len(dst), 0)
}

func (c *OpenChannel) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	*c = OpenChannel{Ref: ref}
	return r.end(KindOpenChannel)
}

// Append implements Command.
func (c *CloseChannel) Append(dst []byte) []byte {
	return endCommand(beginCommand(dst, KindCloseChannel, c.Ref), len(dst), 0)
}

func (c *CloseChannel) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	*c = CloseChannel{Ref: ref}
	return r.end(KindCloseChannel)
}
