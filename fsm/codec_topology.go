package fsm

// Encodings of the commands that change exchanges, queues and bindings.

// Append implements Command.
func (c *DeclareExchange) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindDeclareExchange, c.Ref)
	dst = append(dst, bits(c.Passive, c.Durable, c.AutoDelete, c.Internal, c.NoWait))
	dst = appendShort(dst, c.Name)
	dst = appendShort(dst, c.Type)
	dst = appendTable(dst, c.Arguments)
	return endCommand(dst, start, 0)
}

func (c *DeclareExchange) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	flags := r.flags(5)
	*c = DeclareExchange{
		Ref:        ref,
		Passive:    flags&(1<<0) != 0,
		Durable:    flags&(1<<1) != 0,
		AutoDelete: flags&(1<<2) != 0,
		Internal:   flags&(1<<3) != 0,
		NoWait:     flags&(1<<4) != 0,
		Name:       r.shortString(),
		Type:       r.shortString(),
		Arguments:  r.table(),
	}
	return r.end(KindDeclareExchange)
}

// Append implements Command.
func (c *DeleteExchange) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindDeleteExchange, c.Ref)
	dst = append(dst, bits(c.IfUnused, c.NoWait))
	dst = appendShort(dst, c.Name)
	return endCommand(dst, start, 0)
}

func (c *DeleteExchange) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	flags := r.flags(2)
	*c = DeleteExchange{
		Ref:      ref,
		IfUnused: flags&(1<<0) != 0,
		NoWait:   flags&(1<<1) != 0,
		Name:     r.shortString(),
	}
	return r.end(KindDeleteExchange)
}

// Append implements Command.
func (c *DeclareQueue) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindDeclareQueue, c.Ref)
	dst = append(dst, bits(c.Passive, c.Durable, c.Exclusive, c.AutoDelete, c.NoWait, c.ServerNamed))
	dst = appendShort(dst, c.Name)
	dst = appendTable(dst, c.Arguments)
	return endCommand(dst, start, 0)
}

func (c *DeclareQueue) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	flags := r.flags(6)
	*c = DeclareQueue{
		Ref:         ref,
		Passive:     flags&(1<<0) != 0,
		Durable:     flags&(1<<1) != 0,
		Exclusive:   flags&(1<<2) != 0,
		AutoDelete:  flags&(1<<3) != 0,
		NoWait:      flags&(1<<4) != 0,
		ServerNamed: flags&(1<<5) != 0,
		Name:        r.shortString(),
		Arguments:   r.table(),
	}
	return r.end(KindDeclareQueue)
}

// Append implements Command.
func (c *DeleteQueue) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindDeleteQueue, c.Ref)
	dst = append(dst, bits(c.IfUnused, c.IfEmpty, c.NoWait))
	dst = appendShort(dst, c.Name)
	return endCommand(dst, start, 0)
}

func (c *DeleteQueue) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	flags := r.flags(3)
	*c = DeleteQueue{
		Ref:      ref,
		IfUnused: flags&(1<<0) != 0,
		IfEmpty:  flags&(1<<1) != 0,
		NoWait:   flags&(1<<2) != 0,
		Name:     r.shortString(),
	}
	return r.end(KindDeleteQueue)
}

// Append implements Command.
func (c *PurgeQueue) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindPurgeQueue, c.Ref)
	dst = append(dst, bits(c.NoWait))
	dst = appendShort(dst, c.Name)
	return endCommand(dst, start, 0)
}

func (c *PurgeQueue) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	flags := r.flags(1)
	*c = PurgeQueue{Ref: ref, NoWait: flags&1 != 0, Name: r.shortString()}
	return r.end(KindPurgeQueue)
}

// Append implements Command.
func (c *Bind) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindBind, c.Ref)
	dst = append(dst, bits(c.ToExchange, c.NoWait))
	dst = appendShort(dst, c.Source)
	dst = appendShort(dst, c.Destination)
	dst = appendShort(dst, c.Key)
	dst = appendTable(dst, c.Arguments)
	return endCommand(dst, start, 0)
}

func (c *Bind) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	flags := r.flags(2)
	*c = Bind{
		Ref:         ref,
		ToExchange:  flags&(1<<0) != 0,
		NoWait:      flags&(1<<1) != 0,
		Source:      r.shortString(),
		Destination: r.shortString(),
		Key:         r.shortString(),
		Arguments:   r.table(),
	}
	return r.end(KindBind)
}

// Append implements Command.
func (c *Unbind) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindUnbind, c.Ref)
	dst = append(dst, bits(c.ToExchange, c.NoWait))
	dst = appendShort(dst, c.Source)
	dst = appendShort(dst, c.Destination)
	dst = appendShort(dst, c.Key)
	dst = appendTable(dst, c.Arguments)
	return endCommand(dst, start, 0)
}

func (c *Unbind) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	flags := r.flags(2)
	*c = Unbind{
		Ref:         ref,
		ToExchange:  flags&(1<<0) != 0,
		NoWait:      flags&(1<<1) != 0,
		Source:      r.shortString(),
		Destination: r.shortString(),
		Key:         r.shortString(),
		Arguments:   r.table(),
	}
	return r.end(KindUnbind)
}
