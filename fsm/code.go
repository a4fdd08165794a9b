package fsm

// Code is the one vocabulary of refusals. transport/amqp maps it to a reply code and a level, transport/http to a status; tests keep both maps complete.
type Code uint8

// Codes. Their numbers are part of the log's format only through golden scripts, never through decisions.
const (
	OK                 Code = iota
	NotFound                // no such queue, exchange, virtual host
	AccessRefused           // reserved name, default exchange, permission, exclusive consumer in use
	ResourceLocked          // exclusive queue of another connection
	PreconditionFailed      // inequivalent argument, unknown delivery tag, in use, not empty, invalid argument
	NotAllowed              // virtual host gone, consumer tag reused
	NotImplemented          // asked for what the broker does not do
	ResourceError           // a limit was reached
	FrameTooLarge           // transaction or command beyond 32 MiB
	Forced                  // the operator or the broker ends it
	NotYet                  // of a feature level that the cluster has not reached
)
