package amqp

import (
	"go/ast"
	"go/parser"
	"go/token"
	"testing"

	"github.com/triagemq/triagemq/fsm"
)

// TestEveryCodeHasAReplyCode reads how many codes there are from their declaration, so that a new one cannot be forgotten here.
func TestEveryCodeHasAReplyCode(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../fsm/code.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	codes := 0
	for _, declaration := range file.Decls {
		if d, ok := declaration.(*ast.GenDecl); ok && d.Tok == token.CONST {
			for _, spec := range d.Specs {
				codes += len(spec.(*ast.ValueSpec).Names)
			}
		}
	}
	if codes < 10 {
		t.Fatalf("%d codes found", codes)
	}
	for code := range codes {
		reply := replyCodeOf(fsm.Code(code))
		if reply == internalError || reply.name() == "INTERNAL_ERROR" {
			t.Errorf("code %d has no reply code", code)
		}
	}
}

func TestLevels(t *testing.T) {
	for _, code := range []replyCode{accessRefused, notFound, resourceLocked, preconditionFailed, noRoute} {
		if code.endsConnection() {
			t.Errorf("%v ends the connection", code)
		}
	}
	for _, code := range []replyCode{connectionForced, frameError, syntaxError, commandInvalid, channelError, unexpectedFrame, resourceError, notAllowed, notImplemented, internalError} {
		if !code.endsConnection() {
			t.Errorf("%v does not end the connection", code)
		}
	}
}

// TestEveryCommandHasAMethod: an exception names the method that failed.
func TestEveryCommandHasAMethod(t *testing.T) {
	for kind := fsm.KindOpenSession; kind <= fsm.KindRecover; kind++ {
		switch kind {
		case fsm.KindCloseSession, fsm.KindCloseChannel, fsm.KindGrant: // cannot fail
			continue
		}
		if methodOf(kind) == 0 {
			t.Errorf("%v has no method", kind)
		}
	}
}
