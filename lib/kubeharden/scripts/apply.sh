# Puts new files in place on a node and restarts one service, or leaves the node as it was.
#
#   sh -c "$(cat apply.sh)" apply <PAYLOAD
#
# The payload follows a line "kubeharden-payload" (what stands before it is not ours: sudo's password
# where sudo did not ask for one). No value of it is ever part of a command line.
#
#   run ID                         names the folder with the backups, below /var/lib/kubeharden
#   file MODE OWNER GROUP SHA PATH the new file; SHA is that of the file it replaces, or "absent"
#   ... base64 ...
#   .
#   restart SERVICE                after daemon-reload
#   settle SECONDS                 how long it must run without a break
#   end
#
# Files are put in place in the order of the payload: config files come before the unit that names them, so
# that a node that loses power in between starts with its old unit. A path that is a symbolic link is followed.
#
# Prints "@result applied TIME", "@result stale" or "@result failed", then words: when it failed, the service's
# own. TIME is when it was restarted (RFC 3339, UTC, this node's clock). A service that does not come up is put
# back to what it ran before. KUBEHARDEN_ROOT: see observe.sh.
set -u
LC_ALL=C
export LC_ALL
umask 077
trap '' HUP PIPE
exec 2>&1 # what a command complains of belongs to the answer
root=${KUBEHARDEN_ROOT:-}
state=$root/var/lib/kubeharden

answer() { # WORD MESSAGE
  printf '@result %s\n%s\n' "$1" "$2"
  exit 0
}

abandon() { # WORD MESSAGE: nothing was changed, so nothing need be kept
  [ -z "$work" ] || { each unstage && rm -rf "$work"; }
  answer "$1" "$2; nothing was changed. $complaint"
}

digest() { # FILE
  if [ -e "$1" ]; then sha256sum <"$1" | cut -d ' ' -f 1; else echo absent; fi
}

property() { # NAME
  systemctl show -p "$1" "$service.service" | sed -n "s/^$1=//p"
}

settled() { # runs, under one process, for as long as it must
  waited=0
  while :; do
    pid=$(property MainPID)
    if [ "$(property ActiveState)" = active ] && [ "${pid:-0}" != 0 ]; then break; fi
    case $(property SubState) in auto-restart* | failed | dead) return 1 ;; esac
    [ "$waited" -lt 50 ] || return 1
    waited=$((waited + 1))
    sleep 0.2
  done
  restarts=$(property NRestarts)
  sleep "$settle"
  [ "$(property MainPID)" = "$pid" ] && [ "$(property ActiveState)" = active ] &&
    [ "$(property NRestarts)" = "$restarts" ]
}

restart() {
  systemctl daemon-reload
  systemctl reset-failed "$service.service" >/dev/null # or its own start limit may keep it down
  old=$(property MainPID)
  systemctl restart "$service.service" &
  [ "$service" != kube-apiserver ] || hasten
  wait $!
}

hasten() { # A kube-apiserver that is told to stop listens no more, but stays for up to a minute while watches are
  # open: long enough for controller manager and scheduler to lose their leases and exit. A second SIGTERM ends it
  # at once (k8s.io/apiserver/pkg/server/signal.go).
  waited=0
  while [ "$(property MainPID)" = "$old" ] && [ "$waited" -lt 10 ]; do
    sleep 0.2
    waited=$((waited + 1))
  done
  [ "$(property MainPID)" != "$old" ] || systemctl kill -s TERM "$service.service"
}

each() { # FUNCTION: for every file, in order, until one fails; what it says is kept as the complaint
  index=0
  while IFS=' ' read -r mode owner group sha path; do
    index=$((index + 1))
    real=$(readlink -f "$root$path")
    "$1" </dev/null >"$work/complaint" || {
      complaint=$(cat "$work/complaint")
      return 1
    }
  done <"$work/files"
}

fresh() { [ "$(digest "$real")" = "$sha" ]; }

back_up() {
  if [ "$sha" = absent ]; then :; else cp -p "$real" "$work/old.$index" && sync "$work/old.$index"; fi
}

stage() { # beside its target, so that the rename stays on one file system
  mkdir -p "$(dirname "$real")" &&
    base64 -d <"$work/new.$index" >"$real.kubeharden-new" &&
    chmod "$mode" "$real.kubeharden-new" &&
    chown "$owner:$group" "$real.kubeharden-new" &&
    sync "$real.kubeharden-new"
}

unstage() { rm -f "$real.kubeharden-new"; }

install_file() { mv -f "$real.kubeharden-new" "$real" && sync "$(dirname "$real")"; }

put_back() { # goes on over a file that cannot be put back: the others still can
  if [ "$sha" = absent ]; then
    rm -f "$real"
  elif ! fresh; then
    cp -p "$work/old.$index" "$real.kubeharden-new" && mv -f "$real.kubeharden-new" "$real"
  fi
  fresh || printf '%s ' "$path" >>"$work/lost"
  unstage
}

put_all_back() { # and say so, or say which files it could not
  : >"$work/lost"
  each put_back
  if [ -s "$work/lost" ]; then
    after="THESE FILES COULD NOT BE PUT BACK: $(cat "$work/lost")(their old content is in ${work#"$root"})"
  else
    after='the files are as before'
  fi
}

work='' service='' settle=3 count=0 complete='' complaint=''
while IFS= read -r line && [ "$line" != kubeharden-payload ]; do :; done
while IFS= read -r line; do
  case $line in
  "run "*)
    work=$state/${line#run }
    mkdir -p "$work" || answer failed "cannot write below ${state#"$root"}; nothing was changed"
    : >"$work/files"
    ;;
  "file "*)
    count=$((count + 1))
    printf '%s\n' "${line#file }" >>"$work/files"
    while IFS= read -r line && [ "$line" != . ]; do printf '%s\n' "$line"; done >"$work/new.$count"
    ;;
  "restart "*) service=${line#restart } ;;
  "settle "*) settle=${line#settle } ;;
  end) complete=yes && break ;;
  esac
done
[ -n "$complete" ] || abandon failed 'the payload was cut off'

each fresh || abandon stale "$path has changed since it was read"
each back_up || abandon failed "cannot back up $path to ${work#"$root"}"
each stage || abandon failed "cannot write $path"
if ! each install_file; then
  words="cannot replace $path: $complaint"
  put_all_back
  answer failed "$words; $after, and $service was not restarted"
fi

time=$(date -u +%Y-%m-%dT%H:%M:%SZ)
if restart && settled; then
  rm -f "$work"/new.* "$work/complaint"
  answer "applied $time" "$service runs as process $pid"
fi
words=$(journalctl -q --no-pager -o cat -u "$service.service" -n 30)
put_all_back
restart
if settled; then after="$after, and it runs as before"; else after="$after, AND IT DOES NOT RUN WITH THEM EITHER"; fi
answer failed "$service did not come up; $after. Its journal says:
$words"
