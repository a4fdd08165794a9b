#!/usr/bin/env bash
# Plays the cases against a RabbitMQ of its own and against the cluster at AMQP_URL's balancer, and compares: suite.sh ROOT DIR. Prints TAP.
# ROOT is as for rabbitmq.sh, DIR a temporary folder. ONLY may hold a regular expression of case names.
set -uo pipefail
here=$(dirname "$(realpath "$0")") root=$1 dir=$2 port=25100
rabbitmq_alive() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }
setsid bash "$here/rabbitmq.sh" "$root" "$dir/rabbitmq" "$port" >"$dir/rabbitmq.log" 2>&1 &
rabbitmq=$!
trap 'kill -- "-$rabbitmq" 2>/dev/null; wait "$rabbitmq" 2>/dev/null' EXIT
for ((k = 0; k < 120; k++)); do
  rabbitmq_alive && break
  kill -0 "$rabbitmq" 2>/dev/null || { tail "$dir/rabbitmq.log"; exit 1; }
  sleep 0.5
done
rabbitmq_alive || { echo "RabbitMQ does not start:"; tail "$dir/rabbitmq.log"; exit 1; }
only=(--only "${ONLY:-}")
/usr/bin/python3 "$here/oracle.py" "127.0.0.1:$port" --http "127.0.0.1:$((port + 1))" "${only[@]}" >"$dir/theirs.txt" &
theirs=$!
/usr/bin/python3 "$here/oracle.py" 127.0.0.1:5672 --http 127.0.0.1:15672 "${only[@]}" >"$dir/ours.txt"
wait "$theirs"
/usr/bin/python3 "$here/compare.py" "$dir/theirs.txt" "$dir/ours.txt" "$here/deviations.txt" "${ONLY:-}"
