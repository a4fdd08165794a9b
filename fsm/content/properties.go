package content

import (
	"encoding/binary"
	"fmt"
)

// Properties are the basic class's content properties (AMQP 0-9-1 §1.8). Has tells which are present; the others are zero.
type Properties struct {
	Has             uint16 // the property flags word, bit 15 = content-type … bit 2 = cluster-id
	ContentType     string
	ContentEncoding string
	Headers         Table
	DeliveryMode    uint8
	Priority        uint8
	CorrelationID   string
	ReplyTo         string
	Expiration      string
	MessageID       string
	Timestamp       Timestamp
	Type            string
	UserID          string
	AppID           string
	ClusterID       string
}

// Property flag bits.
const (
	HasContentType     = 1 << 15
	HasContentEncoding = 1 << 14
	HasHeaders         = 1 << 13
	HasDeliveryMode    = 1 << 12
	HasPriority        = 1 << 11
	HasCorrelationID   = 1 << 10
	HasReplyTo         = 1 << 9
	HasExpiration      = 1 << 8
	HasMessageID       = 1 << 7
	HasTimestamp       = 1 << 6
	HasType            = 1 << 5
	HasUserID          = 1 << 4
	HasAppID           = 1 << 3
	HasClusterID       = 1 << 2
)

// hasNothing are the bits that no property has. Bit 0 announces a second flags word, which no class needs.
const hasNothing = 0b11

// DecodeProperties reads a property flags word and the property list that follows it (what a content header frame holds after
// the body size). Trailing bytes are an error. Errors wrap ErrMalformed.
func DecodeProperties(b []byte) (Properties, error) {
	r := reader{rest: b}
	var p Properties
	flags, err := r.flags()
	if err != nil {
		return Properties{}, err
	}
	p.Has = flags
	for bit := uint16(HasContentType); bit >= HasClusterID; bit >>= 1 {
		if flags&bit == 0 {
			continue
		}
		if err := p.decode(bit, &r); err != nil {
			return Properties{}, err
		}
	}
	if len(r.rest) > 0 {
		return Properties{}, errTrailing
	}
	return p, nil
}

// decode reads the property of one flag.
func (p *Properties) decode(bit uint16, r *reader) (err error) {
	switch bit {
	case HasHeaders:
		p.Headers, err = r.table(1)
	case HasDeliveryMode:
		p.DeliveryMode, err = r.uint8()
	case HasPriority:
		p.Priority, err = r.uint8()
	case HasTimestamp:
		var seconds uint64
		seconds, err = r.uint64()
		p.Timestamp = Timestamp(seconds)
	default:
		var b []byte
		b, err = r.short()
		*p.short(bit) = string(b)
	}
	return err
}

// Append writes flags and list; p.Has says which properties. It panics where Validate would return an error.
func (p *Properties) Append(dst []byte) []byte {
	if p.Has&hasNothing != 0 {
		panic(fmt.Sprintf("content: property flags %#04x", p.Has))
	}
	dst = binary.BigEndian.AppendUint16(dst, p.Has)
	for bit := uint16(HasContentType); bit >= HasClusterID; bit >>= 1 {
		if p.Has&bit != 0 {
			dst = p.append(dst, bit)
		}
	}
	return dst
}

// append writes the property of one flag.
func (p *Properties) append(dst []byte, bit uint16) []byte {
	switch bit {
	case HasHeaders:
		return p.Headers.Append(dst)
	case HasDeliveryMode:
		return append(dst, p.DeliveryMode)
	case HasPriority:
		return append(dst, p.Priority)
	case HasTimestamp:
		return binary.BigEndian.AppendUint64(dst, uint64(p.Timestamp))
	default:
		return appendShort(dst, *p.short(bit))
	}
}

// Validate reports the first thing that Append would panic on or that DecodeProperties would refuse of what it wrote.
func (p *Properties) Validate() error {
	if p.Has&hasNothing != 0 {
		return errFlags
	}
	for bit := uint16(HasContentType); bit >= HasClusterID; bit >>= 1 {
		if s := p.short(bit); p.Has&bit != 0 && s != nil && len(*s) > shortStringMax {
			return fmt.Errorf("%w: a property of %d bytes where %d are the most", ErrMalformed, len(*s), shortStringMax)
		}
	}
	if p.Has&HasHeaders == 0 {
		return nil
	}
	return p.Headers.Validate()
}

// short is the place of a property that is a short string, nil for the others.
func (p *Properties) short(bit uint16) *string {
	switch bit {
	case HasContentType:
		return &p.ContentType
	case HasContentEncoding:
		return &p.ContentEncoding
	case HasCorrelationID:
		return &p.CorrelationID
	case HasReplyTo:
		return &p.ReplyTo
	case HasExpiration:
		return &p.Expiration
	case HasMessageID:
		return &p.MessageID
	case HasType:
		return &p.Type
	case HasUserID:
		return &p.UserID
	case HasAppID:
		return &p.AppID
	case HasClusterID:
		return &p.ClusterID
	}
	return nil
}

// flags reads the property flags word.
func (r *reader) flags() (uint16, error) {
	flags, err := r.uint16()
	if err == nil && flags&hasNothing != 0 {
		err = errFlags
	}
	return flags, err
}
