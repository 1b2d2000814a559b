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
# Prints "@result WORD" (applied, stale, failed), with the service's own words when it failed. A service
# that does not come up is put back to what it ran before. KUBEHARDEN_ROOT: see observe.sh.
set -u
LC_ALL=C
export LC_ALL
umask 077
trap '' HUP PIPE
root=${KUBEHARDEN_ROOT:-}
state=$root/var/lib/kubeharden

fail() { # WORD MESSAGE
  printf '@result %s\n%s\n' "$1" "$2"
  exit 0
}

abandon() { # WORD MESSAGE: nothing was changed, so nothing need be kept
  each unstage
  rm -rf "$work"
  fail "$1" "$2; nothing was changed"
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

each() { # FUNCTION: with mode, owner, group, digest and path of every file, in order
  index=0
  while IFS=' ' read -r mode owner group sha path; do
    index=$((index + 1))
    "$1" </dev/null || return 1
  done <"$work/files"
}

fresh() { [ "$(digest "$root$path")" = "$sha" ]; }

stage() { # beside its target, so that the rename stays on one file system
  mkdir -p "$(dirname "$root$path")" &&
    base64 -d <"$work/new.$index" >"$root$path.kubeharden-new" &&
    chmod "$mode" "$root$path.kubeharden-new" &&
    chown "$owner:$group" "$root$path.kubeharden-new" &&
    sync "$root$path.kubeharden-new"
}

unstage() { rm -f "$root$path.kubeharden-new"; }

back_up() {
  if [ "$sha" = absent ]; then :; else cp -p "$root$path" "$work/old.$index" && sync "$work/old.$index"; fi
}

install_file() { mv -f "$root$path.kubeharden-new" "$root$path"; }

put_back() {
  if [ "$sha" = absent ]; then
    rm -f "$root$path"
  else
    cp -p "$work/old.$index" "$root$path.kubeharden-new" && mv -f "$root$path.kubeharden-new" "$root$path"
  fi
}

while IFS= read -r line && [ "$line" != kubeharden-payload ]; do :; done
work='' service='' settle=3 count=0 complete=''
while IFS= read -r line; do
  case $line in
  "run "*)
    work=$state/${line#run }
    mkdir -p "$work" || fail failed "cannot write below $state"
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
[ -n "$complete" ] || abandon failed "the payload was cut off"

each fresh || abandon stale "$path has changed since it was read"
each back_up || abandon failed "cannot back up $path to $work"
each stage || abandon failed "cannot write $path"

if each install_file && systemctl daemon-reload && systemctl restart "$service.service" && settled; then
  rm -f "$work"/new.*
  fail applied "$service runs as process $pid"
fi
words=$(journalctl -q --no-pager -o cat -u "$service.service" -n 30)
each put_back
systemctl daemon-reload
systemctl reset-failed "$service.service" # or its own start limit may keep it down
systemctl restart "$service.service"
if settled; then after="the files and the service are as before"; else after="AND IT DOES NOT RUN WITH ITS OLD FILES EITHER"; fi
fail failed "$service did not come up; $after. Its journal says:
$words"
