#!/usr/bin/env bash
# Every program of amqp-tools, through the balancer at AMQP_URL. Prints TAP.
set -uo pipefail

count=0
# check NAME EXPECTED ACTUAL
check() {
  count=$((count + 1))
  if [[ "$2" == "$3" ]]; then
    echo "ok $1"
  else
    echo "not ok $1"
    printf 'want %q\nhave %q\n' "$2" "$3"
  fi
}
url=(--url "$AMQP_URL")

# line prints the message and ends the line; its own options would be taken for amqp-consume's.
line=$(mktemp)
trap 'rm -f "$line"' EXIT
printf '#!/bin/sh\ncat\necho\n' >"$line"
chmod +x "$line"

check 'declare a queue' work "$(amqp-declare-queue "${url[@]}" -d -q work 2>&1)"
check 'declare it again' work "$(amqp-declare-queue "${url[@]}" -d -q work 2>&1)"
check 'let the server name a queue' amq.gen- "$(amqp-declare-queue "${url[@]}" -q '' 2>&1 | cut -c 1-8)"
amqp-declare-queue "${url[@]}" -q work >/dev/null 2>&1
check 'declare it otherwise: refused' 1 $?
check 'the refusal says why' 1 "$(amqp-declare-queue "${url[@]}" -q work 2>&1 | grep -c "406.*inequivalent arg 'durable' for queue 'work' in vhost '/'")"

amqp-publish "${url[@]}" -r work -b 'first'
check 'publish a body' 0 $?
printf 'second\nlines' | amqp-publish "${url[@]}" -r work -p -C text/plain -E utf-8
check 'publish from standard input' 0 $?
check 'get' first "$(amqp-get "${url[@]}" -q work)"
check 'get what came from standard input' $'second\nlines' "$(amqp-get "${url[@]}" -q work)"
amqp-get "${url[@]}" -q work >/dev/null
check 'get from an empty queue: status 2' 2 $?
amqp-get "${url[@]}" -q missing >/dev/null 2>&1
check 'get from a missing queue: status 1' 1 $?

printf 'a\nb\nc\n' | amqp-publish "${url[@]}" -r work -l
check 'publish each line' 0 $?
check 'consume three' $'a\nb\nc' "$(timeout 20 amqp-consume "${url[@]}" -q work -c 3 cat)"
for k in 1 2 3 4 5; do amqp-publish "${url[@]}" -r work -b "m$k"; done
check 'consume with a prefetch and acknowledgements' $'m1\nm2\nm3\nm4\nm5' "$(timeout 20 amqp-consume "${url[@]}" -q work -p 2 -c 5 "$line")"
amqp-publish "${url[@]}" -r work -b noack
check 'consume without acknowledgements' noack "$(timeout 20 amqp-consume "${url[@]}" -A -q work -c 1 cat)"
amqp-publish "${url[@]}" -r work -b again
timeout 20 amqp-consume "${url[@]}" -q work -c 1 false >/dev/null 2>&1
check 'a message whose command fails stays' again "$(amqp-get "${url[@]}" -q work)"

# consumed OPTION... publishes with the given options until a consumer that runs beside it has its one message.
consumed() {
  while kill -0 "$consumer" 2>/dev/null; do
    amqp-publish "${url[@]}" "$@" 2>/dev/null
  done
  wait "$consumer"
}
got=$(mktemp)
timeout 20 amqp-consume "${url[@]}" -q own -x -c 1 cat >"$got" 2>/dev/null & consumer=$!
consumed -r own -b exclusive
check 'consume from an exclusive queue' exclusive "$(cat "$got")"
amqp-get "${url[@]}" -q own >/dev/null 2>&1
check 'the exclusive queue goes with its connection' 1 $?
timeout 20 amqp-consume "${url[@]}" -e amq.topic -r 'orders.*' -c 1 cat >"$got" 2>/dev/null & consumer=$!
consumed -e amq.topic -r orders.paid -b routed
check 'consume from an exchange through a queue of its own' routed "$(cat "$got")"
timeout 20 amqp-consume "${url[@]}" -q matched -e amq.direct -r letter -c 1 cat >"$got" & consumer=$!
consumed -e amq.direct -r letter -b bound -H 'kind: letter' -t answers
check 'consume from a queue that is declared and bound first' bound "$(cat "$got")"
rm -f "$got"

amqp-publish "${url[@]}" -r big -b x
amqp-declare-queue "${url[@]}" -q big >/dev/null
head -c 1000000 /dev/zero | tr '\0' 'x' | amqp-publish "${url[@]}" -r big
check 'a body of a million bytes' 1000000 "$(amqp-get "${url[@]}" -q big | wc -c)"

amqp-publish "${url[@]}" -e missing -r x -b x >/dev/null 2>&1
check 'publish to a missing exchange: refused' 1 $?
check 'delete a queue' 0 "$(amqp-delete-queue "${url[@]}" -q big 2>&1)"
for k in 1 2; do amqp-publish "${url[@]}" -r work -b "$k"; done
amqp-delete-queue "${url[@]}" -q work -e >/dev/null 2>&1
check 'delete only if empty: refused' 1 $?
check 'delete counts the messages' 2 "$(amqp-delete-queue "${url[@]}" -q work 2>&1)"
amqp-publish --server "${AMQP_NODES%%:*}" --port "$(cut -d, -f2 <<<"$AMQP_NODES" | cut -d: -f2)" --vhost / --username guest --password guest --heartbeat 5 -r unrouted -b x
check 'address, login and heartbeat in single options' 0 $?
check 'delete what is not there' 0 "$(amqp-delete-queue "${url[@]}" -q work 2>&1)"
amqp-get --url "${AMQP_URL/guest:guest/guest:wrong}" -q work >/dev/null 2>&1
check 'a wrong password: status 1' 1 $?

echo "1..$count"
