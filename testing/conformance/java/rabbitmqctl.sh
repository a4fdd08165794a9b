#!/usr/bin/env bash
# The few commands of rabbitmqctl that the Java client's tests call, done through the management API at HTTP_URL.
set -euo pipefail
[[ ${1:-} == -n ]] && shift 2
command=${1:-}
[[ $# -gt 0 ]] && shift
vhost=/
priority=0
args=()
while [[ $# -gt 0 ]]; do
  case $1 in
    -p) vhost=$2; shift 2 ;;
    --priority) priority=$2; shift 2 ;;
    -q) shift ;;
    *) args+=("$1"); shift ;;
  esac
done
encoded() { /usr/bin/python3 -c 'import sys, urllib.parse; print(urllib.parse.quote(sys.argv[1], safe=""))' "$1"; }
json() { /usr/bin/python3 -c 'import json, sys; print(json.dumps(sys.argv[1]))' "$1"; }
api() { curl -sS --fail-with-body -u guest:guest -H 'content-type: application/json' -X "$@"; }
v=$(encoded "$vhost")
case $command in
  list_connections)
    api GET "$HTTP_URL/api/connections" | /usr/bin/python3 -c 'import json, sys; [print(c["name"], c["peer_port"], sep="\t") for c in json.load(sys.stdin)]' ;;
  close_connection)
    api DELETE "$HTTP_URL/api/connections/$(encoded "${args[0]}")" -H "X-Reason: ${args[1]:-}" ;;
  set_policy)
    api PUT "$HTTP_URL/api/policies/$v/$(encoded "${args[0]}")" -d "{\"pattern\": $(json "${args[1]}"), \"definition\": ${args[2]}, \"priority\": $priority}" ;;
  clear_policy)
    api DELETE "$HTTP_URL/api/policies/$v/$(encoded "${args[0]}")" ;;
  add_user)
    api PUT "$HTTP_URL/api/users/$(encoded "${args[0]}")" -d "{\"password\": $(json "${args[1]}"), \"tags\": \"\"}" ;;
  set_user_tags)
    api PUT "$HTTP_URL/api/users/$(encoded "${args[0]}")" -d "{\"password\": $(json "${args[0]}"), \"tags\": $(json "$(IFS=,; echo "${args[*]:1}")")}" ;;
  delete_user)
    api DELETE "$HTTP_URL/api/users/$(encoded "${args[0]}")" ;;
  add_vhost)
    api PUT "$HTTP_URL/api/vhosts/$(encoded "${args[0]}")" ;;
  delete_vhost)
    api DELETE "$HTTP_URL/api/vhosts/$(encoded "${args[0]}")" ;;
  set_permissions)
    api PUT "$HTTP_URL/api/permissions/$v/$(encoded "${args[0]}")" -d "{\"configure\": $(json "${args[1]}"), \"write\": $(json "${args[2]}"), \"read\": $(json "${args[3]}")}" ;;
  clear_permissions)
    api DELETE "$HTTP_URL/api/permissions/$v/$(encoded "${args[0]}")" ;;
  set_topic_permissions)
    api PUT "$HTTP_URL/api/topic-permissions/$v/$(encoded "${args[0]}")" -d "{\"exchange\": $(json "${args[1]}"), \"write\": $(json "${args[2]}"), \"read\": $(json "${args[3]}")}" ;;
  clear_topic_permissions)
    api DELETE "$HTTP_URL/api/topic-permissions/$v/$(encoded "${args[0]}")" ;;
  "")
    echo "commands: list_connections close_connection set_policy clear_policy add_user set_permissions set_topic_permissions" >&2 ;;
  *)
    echo "rabbitmqctl.sh: no command $command" >&2
    exit 1 ;;
esac
