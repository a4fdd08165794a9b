package wire

import (
	"io"
	"sync"
)

// Buffer sizes of a Reader, in bytes. A connection that is quiet keeps the idle one only, so that ten thousand of them are
// cheap; one that sends more than fits borrows a busy one until it is quiet again.
const (
	idleBufferSize = 4 << 10
	busyBufferSize = 64 << 10
)

var busyBuffers = sync.Pool{New: func() any { return new([busyBufferSize]byte) }}

// Reader finds frames in a stream. It reads as much as the source has and hands out every complete frame in place:
//
//	for {
//		if err := r.Fill(conn); err != nil { … }
//		for {
//			f, ok, err := r.Next()
//			if err != nil { … }
//			if !ok { break }
//			…
//		}
//	}
//
// It belongs to one goroutine.
type Reader struct {
	buf      []byte // unread bytes are buf[start:end]
	start    int
	end      int
	frameMax int
	idle     []byte
	busy     *[busyBufferSize]byte // what buf is of, if borrowed
}

// NewReader returns a Reader with the provisional frame limit.
func NewReader() *Reader { return &Reader{frameMax: FrameMaxProvisional} }

// SetFrameMax sets the negotiated limit, in bytes, overhead included.
func (r *Reader) SetFrameMax(frameMax uint32) { r.frameMax = int(frameMax) }

// Buffered is what arrived and was not handed out yet. It aliases the buffer.
func (r *Reader) Buffered() []byte { return r.buf[r.start:r.end] }

// Discard drops the first n buffered bytes: the protocol header, which is not a frame.
func (r *Reader) Discard(n int) { r.start = min(r.start+n, r.end) }

// Next hands out the next complete frame; ok is false when Fill must be called first. An error (ErrFrame) is final.
func (r *Reader) Next() (f Frame, ok bool, err error) {
	f, size, ok, err := parseFrame(r.buf[r.start:r.end], r.frameMax)
	if ok {
		r.start += size
	}
	return f, ok, err
}

// Fill reads once from src. Frames handed out before are invalid after it. It fails only with src's error.
func (r *Reader) Fill(src io.Reader) error {
	r.makeRoom()
	n, err := src.Read(r.buf[r.end:])
	r.end += n
	if n > 0 {
		return nil // an error beside data comes again with the next read
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// makeRoom moves what is left to the front and changes the buffer where another size fits better. Next has seen the bytes, so
// they are the start of a frame within the limit.
func (r *Reader) makeRoom() {
	left := r.end - r.start
	lastRead := r.end
	copy(r.buf, r.buf[r.start:r.end])
	r.start, r.end = 0, left
	switch {
	case r.buf == nil:
		r.idle = make([]byte, idleBufferSize)
		r.buf = r.idle
	case left == 0 && len(r.buf) > idleBufferSize && lastRead < idleBufferSize:
		r.replace(r.idle, nil)
	case lastRead < len(r.buf):
	case len(r.buf) < busyBufferSize:
		busy := busyBuffers.Get().(*[busyBufferSize]byte)
		r.replace(busy[:], busy)
	case left == len(r.buf): // one frame alone fills it: double, so that memory follows the bytes that really came
		r.replace(make([]byte, 2*len(r.buf)), nil)
	}
}

func (r *Reader) replace(buf []byte, busy *[busyBufferSize]byte) {
	copy(buf, r.buf[:r.end])
	r.release()
	r.buf, r.busy = buf, busy
}

func (r *Reader) release() {
	if r.busy != nil {
		busyBuffers.Put(r.busy)
		r.busy = nil
	}
}

// Close gives the buffers back. The Reader must not be used afterwards.
func (r *Reader) Close() {
	r.release()
	r.buf, r.idle, r.start, r.end = nil, nil, 0, 0
}
