package fsm

import "fmt"

// refusal is why a command failed. Nil is success.
type refusal struct {
	code    Code
	text    string
	session bool // a connection exception; otherwise the channel's
	reject  bool // of a basic.reject
}

func refuse(code Code, format string, args ...any) *refusal {
	return &refusal{code: code, text: fmt.Sprintf(format, args...)}
}

func refuseSession(code Code, format string, args ...any) *refusal {
	return &refusal{code: code, text: fmt.Sprintf(format, args...), session: true}
}

func queueLabel(name string, v *vhost) string {
	return fmt.Sprintf("queue '%s' in vhost '%s'", name, v.name)
}

func exchangeLabel(name string, v *vhost) string {
	return fmt.Sprintf("exchange '%s' in vhost '%s'", name, v.name)
}

func noQueue(name string, v *vhost) *refusal {
	return refuse(NotFound, "no %s", queueLabel(name, v))
}

func noExchange(name string, v *vhost) *refusal {
	return refuse(NotFound, "no %s", exchangeLabel(name, v))
}

func reservedName(kind, name, prefix string) *refusal {
	return refuse(AccessRefused, "%s name '%s' contains reserved prefix '%s'", kind, name, prefix)
}

func onDefaultExchange() *refusal {
	return refuse(AccessRefused, "operation not permitted on the default exchange")
}
