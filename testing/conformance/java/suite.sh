#!/usr/bin/env bash
# Compiles and runs the functional tests of RabbitMQ's Java client: suite.sh SOURCE DIR. Prints TAP. ONLY may hold a regular expression of class names.
set -euo pipefail
here=$(dirname "$(realpath "$0")") source=$1 out=$2/classes
lib=/usr/share/java
path=$lib/amqp-client.jar:$lib/junit4.jar:$lib/hamcrest-core.jar:$lib/slf4j-api.jar:$lib/slf4j-nop.jar
tests=com/rabbitmq/client/test
mkdir -p "$out"
cp -r "$source/src/test/java" "$2/src"
# Metrics looks at the client's own counters, and needs libraries that Debian does not have.
rm "$2/src/$tests/functional/Metrics.java"
sed -i '/Metrics\.class/d' "$2/src/$tests/functional/FunctionalTests.java"
sed -i 's/ExceptionMessages\.class,/ExceptionMessages.class/' "$2/src/$tests/functional/FunctionalTests.java"
# Five tests of the client's own records make 5,000 round trips and more each: a fiftieth of them will do.
sed -i 's/i < 5000;/i < 100;/' "$2/src/$tests/functional/ConnectionRecovery.java"
# This one restarts the broker, which cannot be done here, and where that fails it leaves a connection open that breaks the tests after it.
sed -i '/void restartingExpiry/s/@Test//' "$2/src/$tests/functional/PerMessageTTL.java"
mapfile -t files < <(cd "$2/src" && ls "$tests"/functional/*.java "$tests"/server/{Permissions,TopicPermissions,XDeathHeaderGrowth,PriorityQueues,AlternateExchangeEquivalence,ExclusiveQueueDurability,LoopbackUsers,ChannelLimitNegotiation}.java "$tests"/{QueueingConsumerTests,RpcTest,ChannelAsyncCompletableFutureTest,ChannelRpcTimeoutIntegrationTest,SharedThreadPoolTest,CloseInMainLoop}.java | grep -vE "/(FunctionalTests|\w+Base)\.java$")
javac -nowarn -Xlint:none -d "$out" -cp "$path" -sourcepath "$2/src" "$here/Tap.java" "${files[@]/#/$2/src/}" >&2
classes=()
for f in "${files[@]}"; do
  grep -q '@Test' "$2/src/$f" || grep -qE 'extends \w*(Base|Test|Acks|Reject|Broker)' "$2/src/$f" || continue
  grep -q 'abstract class' "$2/src/$f" && continue
  class=${f%.java}
  [[ ${class##*/} =~ ${ONLY:-} ]] && classes+=("${class//\//.}")
done
cp -r "$source"/src/test/resources/. "$out" 2>/dev/null || true
exec java -cp "$out:$path" -Dtest-broker.A.nodename=n1 -Dtest-broker.A.node_port=5672 -Dtest-broker.B.node_port=5672 -Drabbitmqctl.bin="$here/rabbitmqctl.sh" \
  -Dmake.bin=/bin/false -Drabbitmq.dir="$source" -Dbroker.hostname=localhost -Dbroker.port=5672 -Dbroker.sslport=5671 Tap "${classes[@]}"
