#!/bin/sh
# runc for a machine whose root lacks CAP_SYS_RESOURCE: there, no process may lower its oom_score_adj, and no
# container can be given that capability. Both are taken out of what docker asks for before runc sees it.
config='' before=''
for word in "$@"; do
  case $before in
  --bundle | -b) config=$word/config.json ;;
  --process | -p) config=$word ;;
  esac
  case $word in --bundle=*) config=${word#*=}/config.json ;; --process=*) config=${word#*=} ;; esac
  before=$word
done
if [ -n "$config" ] && [ -f "$config" ]; then
  # A container's configuration has a process; the one of an exec is a process.
  jq -c 'def fit: del(.oomScoreAdj) |
      if .capabilities then .capabilities |= map_values(if . then . - ["CAP_SYS_RESOURCE"] else . end) else . end;
    if has("process") then .process |= fit else fit end' "$config" >"$config.lab" &&
    cat "$config.lab" >"$config"
  rm -f "$config.lab"
fi
exec /usr/sbin/runc "$@"
