package content

import "strconv"

// expirationMillisMax is RabbitMQ's limit of the property expiration, ten years.
const expirationMillisMax = 315_360_000_000

// ExpirationMillis reads the property expiration, a decimal number of milliseconds from 0 to 315360000000. fault is "" where it is one, and otherwise says what is
// wrong in RabbitMQ's words. It does not allocate unless there is a fault.
func ExpirationMillis(b []byte) (millis int64, fault string) {
	digits := b
	if len(b) > 0 && (b[0] == '+' || b[0] == '-') {
		digits = b[1:]
	}
	n := 0
	for n < len(digits) && digits[n] >= '0' && digits[n] <= '9' {
		millis = min(millis*10+int64(digits[n]-'0'), expirationMillisMax+1)
		n++
	}
	number := b[:len(b)-len(digits)+n]
	switch {
	case n == 0:
		return 0, "no_integer"
	case n < len(digits):
		return 0, "{leftover_string," + strconv.Quote(string(digits[n:])) + "}"
	case b[0] == '-' && millis > 0:
		return 0, "{value_negative," + string(number) + "}"
	case millis > expirationMillisMax:
		return 0, "{value_too_large," + string(number) + "}"
	}
	return millis, ""
}
