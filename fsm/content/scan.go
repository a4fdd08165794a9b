package content

// Summary is what publishing needs of the properties, found without allocating. Slices alias the input.
type Summary struct {
	Priority        uint8
	HasDeliveryMode bool
	DeliveryMode    uint8  // 0 when absent
	Expiration      []byte // nil when absent
	UserID          []byte // nil when absent
	ReplyTo         []byte // nil when absent
	Headers         []byte // the encoded table with its length, nil when absent
	Copies          bool   // the headers have CC or BCC, whatever their value
}

// Scan validates encoded properties wholly, nested tables included, and summarises them. It does not allocate. It accepts
// exactly what DecodeProperties accepts. Errors wrap ErrMalformed.
func Scan(b []byte) (Summary, error) {
	r := reader{rest: b}
	var s Summary
	flags, err := r.flags()
	if err != nil {
		return Summary{}, err
	}
	for bit := uint16(HasContentType); bit >= HasClusterID; bit >>= 1 {
		if flags&bit == 0 {
			continue
		}
		if err := s.scan(bit, &r); err != nil {
			return Summary{}, err
		}
	}
	if len(r.rest) > 0 {
		return Summary{}, errTrailing
	}
	return s, nil
}

// scan takes in the property of one flag.
func (s *Summary) scan(bit uint16, r *reader) (err error) {
	switch bit {
	case HasHeaders:
		table := r.rest
		s.Copies, err = r.skipFields(1)
		s.Headers = table[:len(table)-len(r.rest)]
	case HasDeliveryMode:
		s.HasDeliveryMode = true
		s.DeliveryMode, err = r.uint8()
	case HasPriority:
		s.Priority, err = r.uint8()
	case HasTimestamp:
		_, err = r.uint64()
	case HasExpiration:
		s.Expiration, err = r.short()
	case HasUserID:
		s.UserID, err = r.short()
	case HasReplyTo:
		s.ReplyTo, err = r.short()
	default:
		_, err = r.short()
	}
	return err
}

// ScanTable validates a table with its leading length, nested ones included, and returns it (aliasing b) with the bytes that
// follow. It does not allocate. It accepts exactly what DecodeTable accepts.
func ScanTable(b []byte) (table, rest []byte, err error) {
	r := reader{rest: b}
	if err := r.skipTable(1); err != nil {
		return nil, nil, err
	}
	n := len(b) - len(r.rest)
	return b[:n:n], r.rest, nil
}

func (r *reader) skipTable(depth int) error {
	_, err := r.skipFields(depth)
	return err
}

// skipFields reports whether the table has a field CC or BCC.
func (r *reader) skipFields(depth int) (copies bool, err error) {
	body, err := r.nested(depth)
	if err != nil {
		return false, err
	}
	for entries := 0; len(body.rest) > 0; entries++ {
		if entries == EntriesMax {
			return false, errEntries
		}
		name, err := body.short()
		if err != nil {
			return false, err
		}
		if n := len(name); n == 2 && string(name) == "CC" || n == 3 && string(name) == "BCC" {
			copies = true
		}
		if err := body.skipValue(depth); err != nil {
			return false, err
		}
	}
	return copies, nil
}

func (r *reader) skipArray(depth int) error {
	body, err := r.nested(depth)
	if err != nil {
		return err
	}
	for entries := 0; len(body.rest) > 0; entries++ {
		if entries == EntriesMax {
			return errEntries
		}
		if err := body.skipValue(depth); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) skipValue(depth int) error {
	typ, err := r.uint8()
	if err != nil {
		return err
	}
	switch typ {
	case typeVoid:
		return nil
	case typeString, typeBytes:
		_, err := r.long()
		return err
	case typeTable:
		return r.skipTable(depth + 1)
	case typeArray:
		return r.skipArray(depth + 1)
	}
	size := fixedSize(typ)
	if size == 0 {
		return errType
	}
	_, err = r.take(size)
	return err
}
