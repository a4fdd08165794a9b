package amqp

import (
	"fmt"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/transport/wire"
)

// replyCode is AMQP's number for an error (AMQP 0-9-1 §1.1, RabbitMQ's use of it).
type replyCode uint16

const (
	replySuccess       replyCode = 200
	noRoute            replyCode = 312
	connectionForced   replyCode = 320
	accessRefused      replyCode = 403
	notFound           replyCode = 404
	resourceLocked     replyCode = 405
	preconditionFailed replyCode = 406
	frameError         replyCode = 501
	syntaxError        replyCode = 502
	commandInvalid     replyCode = 503
	channelError       replyCode = 504
	unexpectedFrame    replyCode = 505
	resourceError      replyCode = 506
	notAllowed         replyCode = 530
	notImplemented     replyCode = 540
	internalError      replyCode = 541
)

// name is the code's name, which begins every reply text as in RabbitMQ.
func (c replyCode) name() string {
	switch c {
	case replySuccess:
		return "OK"
	case noRoute:
		return "NO_ROUTE"
	case connectionForced:
		return "CONNECTION_FORCED"
	case accessRefused:
		return "ACCESS_REFUSED"
	case notFound:
		return "NOT_FOUND"
	case resourceLocked:
		return "RESOURCE_LOCKED"
	case preconditionFailed:
		return "PRECONDITION_FAILED"
	case frameError:
		return "FRAME_ERROR"
	case syntaxError:
		return "SYNTAX_ERROR"
	case commandInvalid:
		return "COMMAND_INVALID"
	case channelError:
		return "CHANNEL_ERROR"
	case unexpectedFrame:
		return "UNEXPECTED_FRAME"
	case resourceError:
		return "RESOURCE_ERROR"
	case notAllowed:
		return "NOT_ALLOWED"
	case notImplemented:
		return "NOT_IMPLEMENTED"
	}
	return "INTERNAL_ERROR"
}

// endsConnection tells connection exceptions from channel exceptions.
func (c replyCode) endsConnection() bool { return c == connectionForced || c >= frameError }

// replyCodeOf is the reply code of a refusal by the state machine.
func replyCodeOf(code fsm.Code) replyCode {
	switch code {
	case fsm.OK:
		return replySuccess
	case fsm.NotFound:
		return notFound
	case fsm.AccessRefused:
		return accessRefused
	case fsm.ResourceLocked:
		return resourceLocked
	case fsm.PreconditionFailed, fsm.NotYet, fsm.FrameTooLarge: // the design has 406 for a command beyond the limit
		return preconditionFailed
	case fsm.NotAllowed:
		return notAllowed
	case fsm.NotImplemented:
		return notImplemented
	case fsm.ResourceError:
		return resourceError
	case fsm.Forced:
		return connectionForced
	}
	return internalError
}

// exception is an error that a peer is told: of its channel or of the connection, as the code says.
type exception struct {
	code   replyCode
	text   string // without the code's name
	method wire.MethodID
}

func (e *exception) Error() string { return e.replyText() }

// replyText is RabbitMQ's form, "NOT_FOUND - no queue 'q' in vhost '/'".
func (e *exception) replyText() string { return e.code.name() + " - " + e.text }

func exceptionf(code replyCode, method wire.MethodID, format string, args ...any) *exception {
	return &exception{code, fmt.Sprintf(format, args...), method}
}

// exceptionOf is what the state machine found.
func exceptionOf(e *fsm.Effect) *exception {
	return &exception{replyCodeOf(e.Code), e.Text, methodOf(e.Command)}
}

// methodOf is the method that a command came from; where several make the same command, the usual one.
func methodOf(kind fsm.CommandKind) wire.MethodID {
	switch kind {
	case fsm.KindOpenSession:
		return wire.IDConnectionOpen
	case fsm.KindOpenChannel:
		return wire.IDChannelOpen
	case fsm.KindDeclareExchange:
		return wire.IDExchangeDeclare
	case fsm.KindDeleteExchange:
		return wire.IDExchangeDelete
	case fsm.KindDeclareQueue:
		return wire.IDQueueDeclare
	case fsm.KindDeleteQueue:
		return wire.IDQueueDelete
	case fsm.KindPurgeQueue:
		return wire.IDQueuePurge
	case fsm.KindBind:
		return wire.IDQueueBind
	case fsm.KindUnbind:
		return wire.IDQueueUnbind
	case fsm.KindPublish:
		return wire.IDBasicPublish
	case fsm.KindGet:
		return wire.IDBasicGet
	case fsm.KindConsume:
		return wire.IDBasicConsume
	case fsm.KindCancel:
		return wire.IDBasicCancel
	case fsm.KindSetQos:
		return wire.IDBasicQos
	case fsm.KindAck:
		return wire.IDBasicAck
	case fsm.KindNack:
		return wire.IDBasicNack
	case fsm.KindRecover:
		return wire.IDBasicRecover
	case fsm.KindTx:
		return wire.IDTxCommit
	}
	return 0
}
