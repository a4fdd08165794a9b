package store

import "hash/crc32"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Content is what a message is made of. Slices that Store returns alias chunk memory: valid until the next call that changes the Store.
type Content struct {
	Exchange   []byte // as published, at most 255 bytes
	RoutingKey []byte // as published, at most 255 bytes
	Properties []byte // property flags and list, verbatim
	Body       []byte
}

// Message is the slot of a shared content. 0 is none.
type Message uint32

// messageRecord says where a content lies and who needs it. In memory its four parts follow each other.
type messageRecord struct {
	chunk, offset   uint32
	propertiesBytes uint32
	bodyBytes       uint32
	refs            uint32 // entries, plus 1 while put
	crc             uint32 // CRC32C of the four parts
	exchangeBytes   uint8
	keyBytes        uint8
	put             bool // the reference that Put gave is still out
	_               uint8
}

const messageRecordBytes = 28

func (r *messageRecord) sizeBytes() uint32 {
	return uint32(r.exchangeBytes) + uint32(r.keyBytes) + r.propertiesBytes + r.bodyBytes
}

// split cuts a content into its parts.
func (r *messageRecord) split(b []byte) Content {
	key := int(r.exchangeBytes)
	properties := key + int(r.keyBytes)
	body := properties + int(r.propertiesBytes)
	return Content{
		Exchange:   b[:key:key],
		RoutingKey: b[key:properties:properties],
		Properties: b[properties:body:body],
		Body:       b[body:],
	}
}

// contentBytesMax keeps a content with its header within 32 bits.
const contentBytesMax = 1<<32 - 1 - contentHeaderBytes

// Put copies a content in; c may alias contents of this Store. The caller holds one reference and gives it up with Release.
func (s *Store) Put(c Content) Message {
	if len(c.Exchange) > 255 || len(c.RoutingKey) > 255 {
		panic("store: an exchange name or routing key of more than 255 bytes")
	}
	if uint64(len(c.Properties))+uint64(len(c.Body)) > contentBytesMax-510 {
		panic("store: a content of more than 32 bits of length")
	}
	r := messageRecord{
		exchangeBytes:   uint8(len(c.Exchange)),
		keyBytes:        uint8(len(c.RoutingKey)),
		propertiesBytes: uint32(len(c.Properties)),
		bodyBytes:       uint32(len(c.Body)),
		refs:            1,
		put:             true,
	}
	m := Message(s.messages.alloc())
	var b []byte
	r.chunk, r.offset, b = s.contents.reserve(&s.contents.fresh, m, int(r.sizeBytes()))
	n := copy(b, c.Exchange)
	n += copy(b[n:], c.RoutingKey)
	n += copy(b[n:], c.Properties)
	copy(b[n:], c.Body)
	r.crc = crc32.Update(0, castagnoli, b)
	*s.messages.mut(uint32(m)) = r
	return m
}

// Release gives up the reference that Put gave; a message that no entry refers to is freed.
func (s *Store) Release(m Message) {
	r := s.messages.mut(uint32(m))
	if r.refs == 0 || !r.put {
		panic("store: Release of a message that was not put, or was released before")
	}
	r.put = false
	s.unref(m, r)
}

// Content returns the content of a live message.
func (s *Store) Content(m Message) Content {
	r := s.messages.at(uint32(m))
	if r.refs == 0 {
		panic("store: Content of a message that is gone")
	}
	return r.split(s.contents.content(r.chunk, r.offset, r.sizeBytes()))
}

// unref takes a reference away; r is m's record, for writing.
func (s *Store) unref(m Message, r *messageRecord) {
	r.refs--
	if r.refs > 0 {
		return
	}
	s.contents.release(r.chunk, r.sizeBytes())
	s.messages.free(uint32(m))
}

// residesAt tells whether the content at that place is m's. A header outlives its content: the slot may be free or have another owner.
func (s *Store) residesAt(m Message, chunk, offset uint32) bool {
	if !s.messages.has(uint32(m)) {
		return false
	}
	r := s.messages.at(uint32(m))
	return r.chunk == chunk && r.offset == offset
}

// move copies a content to where long-lived ones are kept.
func (s *Store) move(m Message) {
	r := s.messages.mut(uint32(m))
	size := r.sizeBytes()
	chunk, offset, to := s.contents.reserve(&s.contents.moved, m, int(size))
	copy(to, s.contents.content(r.chunk, r.offset, size))
	old := r.chunk
	r.chunk, r.offset = chunk, offset
	s.contents.release(old, size)
}
