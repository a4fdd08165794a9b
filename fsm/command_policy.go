package fsm

// PutPolicy sets a policy of a virtual host, new or in place of the one of the same name, and applies it to the queues and exchanges that are there.
// Operator call. Reply: PreconditionFailed with RabbitMQ's text where the policy is not valid, NotFound without the virtual host.
type PutPolicy struct {
	Ref         Ref
	VHost, Name string
	Operator    bool   // an operator policy, which limits what policies and arguments may allow
	Pattern     string // regular expression that names are to match anywhere, at most PatternBytesMax; "" matches every name
	ApplyTo     string // all ("" too), queues, classic_queues, quorum_queues, streams, exchanges
	Priority    int64  // the highest one that matches wins; of several the first by name
	Definition  []byte // encoded field table with its length: RabbitMQ's words without x-
}

// DeletePolicy removes a policy. Operator call. Reply: NotFound where it is not there.
type DeletePolicy struct {
	Ref         Ref
	VHost, Name string
	Operator    bool
}

// PutParameter sets a runtime parameter, new or in place of the one of the same names; the broker keeps it and does not interpret it. Operator call. Reply:
// NotFound without the virtual host, PreconditionFailed where the component is one that has commands of its own.
type PutParameter struct {
	Ref       Ref
	VHost     string // "" for a global parameter, whose Component is empty too
	Component string
	Name      string
	Value     []byte // a JSON value, as the door took it
}

// DeleteParameter removes a runtime parameter. Operator call. Reply: NotFound where it is not there.
type DeleteParameter struct {
	Ref                    Ref
	VHost, Component, Name string
}

// ParameterBytesMax bounds the value of a parameter.
const ParameterBytesMax = 1 << 20
