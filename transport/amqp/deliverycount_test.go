package amqp

import (
	"testing"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/fsm/content"
)

func TestDeliveryCountIsA64BitIntegerOnQuorumQueuesAlone(t *testing.T) {
	for quorum, want := range map[bool]any{true: int64(3), false: int32(3)} {
		properties := withDeliveryCount((&content.Properties{}).Append(nil), &fsm.Effect{Deliveries: 3, Quorum: quorum})
		p, err := content.DecodeProperties(properties)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := p.Headers.Get("x-delivery-count"); got != want {
			t.Errorf("quorum %v: %T %v, want %T %v", quorum, got, got, want, want)
		}
	}
}
