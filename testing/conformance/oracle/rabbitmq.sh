#!/usr/bin/env bash
# Runs a RabbitMQ that was only unpacked, never installed: rabbitmq.sh ROOT DIR PORT
# ROOT has Debian's rabbitmq-server as `dpkg -x` left it; DIR takes data, logs and the Erlang cookie. AMQP on PORT, the management API on PORT+1,
# Erlang's own on PORT+2 and PORT+3. It runs until it is killed.
set -euo pipefail
root=$1 dir=$2 port=$3
home=$(echo "$root"/usr/lib/rabbitmq/lib/rabbitmq_server-*)
mkdir -p "$dir"/{log,mnesia,config,schema}
echo '[rabbitmq_management].' >"$dir/enabled_plugins"
cat >"$dir/rabbitmq.conf" <<END
management.tcp.port = $((port + 1))
management.tcp.ip = 127.0.0.1
log.file.level = warning
collect_statistics_interval = 1000
END
: >"$dir/env.conf"
export HOME=$dir RABBITMQ_HOME=$home RABBITMQ_PLUGINS_DIR=$home/plugins RABBITMQ_NODENAME=oracle@localhost
export RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT=$port RABBITMQ_DIST_PORT=$((port + 2)) ERL_EPMD_PORT=$((port + 3)) ERL_EPMD_ADDRESS=127.0.0.1
export RABBITMQ_MNESIA_BASE=$dir/mnesia RABBITMQ_LOG_BASE=$dir/log RABBITMQ_LOGS=$dir/log/rabbitmq.log RABBITMQ_PID_FILE=$dir/pid
export RABBITMQ_CONFIG_FILE=$dir/rabbitmq.conf RABBITMQ_ADVANCED_CONFIG_FILE=$dir/advanced.config RABBITMQ_CONF_ENV_FILE=$dir/env.conf
export RABBITMQ_ENABLED_PLUGINS_FILE=$dir/enabled_plugins RABBITMQ_FEATURE_FLAGS_FILE=$dir/feature_flags
export RABBITMQ_GENERATED_CONFIG_DIR=$dir/config RABBITMQ_SCHEMA_DIR=$dir/schema
exec "$home/sbin/rabbitmq-server"
