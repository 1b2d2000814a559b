# shellcheck shell=dash
# Changes the files of one service on this node and restarts it, as one transaction: unless somebody confirms the
# change in time, the node puts everything back by itself. This file has what the other two share:
#
#   requests.sh   what the controller calls over SSH (see session.sh); it starts the work and looks at it
#   units.sh      the work, in units of systemd, so that no connection and no controller is needed for it
#
# The three are one script, which lies at /var/lib/kubeharden/transaction.sh for the units and for a person:
#
#   sh transaction.sh begin <ARCHIVE         starts one and follows it until it waits or is over
#   ... confirm RUN | undo RUN               the change stays, or is put back at once
#   ... state                                the transactions that this node knows, one a line
#   ... old <RUN, SHA                        what it has backed up with that digest, in base64 between "@old" and "@end"
#   ... clean                                removes all that kubeharden has put on this node
#   ... work RUN | revert RUN | boot         of the units
#
# The units are files in /etc/systemd/system, which stay there (see nodes/units.py):
#
#   kubeharden-apply@RUN     stage, check, back up, arm, rename into place, restart; then it is up, and watches; where it
#                            fails or is killed, it starts
#   kubeharden-revert@RUN    puts everything back; so do undo and a transient timer of its name; killed, it starts again
#   kubeharden-boot          after a reboot, has what is open put back before the services start
#
# A transaction is a folder, /var/lib/kubeharden/RUN. The controller makes it, as an archive of tar. No value of it is
# ever part of a command line, but RUN, which is of harmless letters. In it are:
#
#   settings      lines of a name and a value:
#                   run ID             names the folder
#                   holder TEXT        who has the node while the change is open
#                   restart SERVICE    after daemon-reload
#                   settle SECONDS     how long it must run without a break
#                   deadline SECONDS   how long until the node puts back what nobody has confirmed
#                   hasten yes         a second SIGTERM ends the service at once
#   files         a line each: NUMBER MODE OWNER GROUP BEFORE AFTER PATH, with the SHA-256 of the content that is to
#                 be replaced and of that which replaces it; "absent" is a file that is not there
#   reversed      the same lines, the last one first
#   new.NUMBER    the new content
#   check/...     the new units once more, in folders as systemd wants them: its own check looks for drop-ins there
#   argv          where the program can check its file: the flag with which it does, then the command line for that, one
#                 word a line
#   node/...      this script and the units; "installed" has their digests where they belong
#   digests       of all the others, as sha256sum -c reads them; it comes last
#
# The node adds what it needs to remember, among it "old.NUMBER", the backups, "held", which is there from the lock on
# until all is cleared away, "session", the process that begins the work, and "room", which is given up for words that
# would find no other on a full disk.
#
# Files are put in place in the order of "files", config files before the unit that names them, and put back in the
# reverse order. A path that is a symbolic link is followed.
#
# The states of a transaction, each a line at the end of the file "state" and on disk before what comes after it:
#
#   begun -> arming -> armed -> restarting -> waiting -> confirmed          (busy, stale, unchanged, failed: from begun)
#     +--------+---------+----------+------------+----> reverting -> reverted, failed or stuck
#
# One process at a time may do anything to the node and take a transaction to its next state: the one that has the lock
# on /run/kubeharden.lock. It dies with its process. What is open and at work no more is ended by whoever comes next.
#
# Programs take time on a node with work to do, and waiting for the disk takes more: what must be on disk goes there in as
# few calls as can be.
umask 077
base=$root/var/lib/kubeharden
lock=$root/run/kubeharden.lock
units=$root/etc/systemd/system
wants=$units/multi-user.target.wants
no_flock='this node has no program "flock" (of util-linux or busybox)'

# --- small things ---------------------------------------------------------------------------------------------

show() { # FILE: prints it; nothing where there is none
  local row
  [ ! -e "$1" ] || while IFS= read -r row || [ -n "$row" ]; do printf '%s\n' "$row"; done <"$1"
}

alive() { # UNIT...: any of them
  local word
  for word in $(systemctl is-active "$@"); do
    case $word in active | activating | deactivating) return 0 ;; *) ;; esac
  done
  return 1
}

within() { # SECONDS COMMAND...: whether it succeeds in that time
  local left=$(($1 * 5))
  shift
  until "$@"; do
    [ "$left" -gt 0 ] || return 1
    left=$((left - 1))
    sleep 0.2
  done
}

known() { # RUN: a name that may stand in a path and in the name of a unit
  case $1 in '' | .* | *[!A-Za-z0-9._-]*) return 1 ;; *) return 0 ;; esac
}

owners() { # FILE...: prints mode, owner and group of each; by number where the system knows no name
  local mode user uid group gid
  stat -c '%a %U %u %G %g' "$@" | while read -r mode user uid group gid; do
    [ "$user" != UNKNOWN ] || user=$uid
    [ "$group" != UNKNOWN ] || group=$gid
    printf '%s %s %s\n' "$mode" "$user" "$group"
  done
}

copy() { # FROM TO: a file, with what hangs on it besides mode and owner; or says that it cannot be kept
  cp -p --preserve=xattr "$1" "$2" 2>/dev/null || { cp -p "$1" "$2" && [ "$(hanging "$1")" = "$(hanging "$2")" ]; } || {
    echo "the programs of this node (cp) cannot keep its access control list or its extended attributes" >&2
    return 1
  }
  [ ! -e "$root/sys/fs/selinux/enforce" ] || chcon --reference="$1" "$2"
}

hanging() { # FILE: prints what can be seen of its access control list and its extended attributes
  local said
  said=$(ls -ld "$1")
  said=${said%% *}
  printf '%s\n' "${said#??????????}"
  ! command -v getfattr >/dev/null || getfattr -d -m - -e hex --absolute-names "$1" 2>/dev/null | sed 1d
}

# --- a transaction --------------------------------------------------------------------------------------------

load() { # RUN: makes this the transaction that all of the following is about: sets "run", "folder" and its settings
  local row
  run=$1 folder=$base/$1 named='' service='' settle=0 deadline='' holder='' hasten=''
  [ ! -e "$folder/settings" ] || while IFS= read -r row; do
    case $row in
    "run "*) named=${row#* } ;;
    "restart "*) service=${row#* } ;;
    "settle "*) settle=${row#* } ;;
    "deadline "*) deadline=${row#* } ;;
    "holder "*) holder=${row#* } ;;
    "hasten "*) hasten=yes ;;
    *) ;;
    esac
  done <"$folder/settings"
}

began() { # prints when it was sent (RFC 3339, UTC, this node's clock)
  date -u -r "$folder/settings" +%Y-%m-%dT%H:%M:%SZ
}

each_run() { # FUNCTION: for each transaction of this node, which all is about meanwhile; "mine" is the one from before
  local mine="$run" place
  for place in "$base"/*/state; do
    [ -e "$place" ] || continue
    folder=${place%/state}
    run=${folder##*/}
    recall
    "$1"
  done
  run=$mine folder=$base/$mine
  recall
}

recall() { # sets "now" to its state, empty where there is none, and "reached" to how far it came
  local row
  now='' reached=''
  {
    while read -r row; do
      case $row in
      arming) now=$row reached=timer ;;
      armed) now=$row reached=files ;;
      restarting | waiting) now=$row reached=service ;;
      begun | reverting | stuck | confirmed | reverted | failed | stale | busy | unchanged) now=$row ;;
      *) ;;
      esac
    done <"$folder/state"
  } 2>/dev/null
}

is_now() { # STATE
  recall
  [ "$now" = "$1" ]
}

is_open() { # it began to work, and is not over or has not cleared away
  [ -e "$folder/held" ] || case $now in '' | begun) return 1 ;; *) ! is_over ;; esac
}

is_over() {
  case $now in confirmed | reverted | failed | stale | busy | unchanged) return 0 ;; *) return 1 ;; esac
}

is_ended() { # as far as it can be
  recall
  [ "$now" = stuck ] || is_over
}

note() { # NAME TEXT: a file of this transaction; the next state brings it to the disk
  write ">" "$1" "$2"
}

say() { # STATE: not yet on disk
  # What a power cut or a full disk leaves of a line is none of the states, and the next line does not go on with it.
  write ">>" state "$newline$1"
}

write() { # > or >>, NAME TEXT; on a full disk, in the room that was taken before anything was changed
  put "$@" 2>/dev/null || { [ -e "$folder/room" ] && rm -f "$folder/room" && put "$@"; }
}

put() {
  case $1 in '>') printf '%s\n' "$3" >"$folder/$2" ;; *) printf '%s\n' "$3" >>"$folder/$2" ;; esac
}

enter() { # STATE [PATH...]: on disk, and these before it, when this returns
  say "$1" || return 1
  shift
  sync "$@" "$folder/state" "$folder"
}

conclude() { # STATE WORDS: it is over
  local state="$1" words="$2"
  make_room # the disk may be full, and the words must be there
  note words "$words"
  set -- "$folder/words"
  [ ! -e "$folder/journal" ] || set -- "$@" "$folder/journal"
  enter "$state" "$@" || return 1 # to be tried again by whoever meets it next
  echo "kubeharden: $run: $service: $state: $words"
  finish
}

make_room() { # [PATH...]: of what is not needed any more once it is decided how this ends, and of these
  rm -rf "$folder"/new.* "$folder/check" "$folder/node" "$folder/written" "$folder/argv" "$folder/room" "$@"
}

finish() { # what is left to do once it is over; again, should it have been cut off
  recall
  # What only an open transaction needs; the backups stay.
  make_room "$folder"/real.* "$folder/held"
  # Should this have been cut off until here, the timer does it again. From the lock on, the node is another's.
  [ -z "$reached" ] || systemctl stop "kubeharden-revert@$run.timer" 2>/dev/null
  unlock
}

start_revert() { # WHY [timeout SECONDS]: and wait for it; in the unit that does that whoever asks for it
  [ "$now" != stuck ] || say reverting # once more: somebody may have mended it
  note why "$1" && sync "$folder/why" "$folder/state" "$folder"
  shift
  "$@" systemctl start "kubeharden-revert@$run.service"
}

try_lock() { # whether this process has the node, until it gives it back or ends
  [ -d "${lock%/*}" ] || mkdir -p "${lock%/*}"
  exec 9>>"$lock" && flock -n 9
}

unlock() { exec 9>&-; }

in_session() { # PROCESS: whether it is a session of this script
  # By its command line: one that was killed, but not yet waited for, still has its number, as may a stranger.
  grep -qs kubeharden-session "/proc/$1/cmdline"
}

is_left() { # nobody works on it, and nobody is about to
  local session
  get session "$folder/session"
  ! in_session "$session" && ! is_at_work
}

is_at_work() { alive "kubeharden-apply@$run.service" "kubeharden-revert@$run.service"; }

# --- its files ------------------------------------------------------------------------------------------------

each() { # FUNCTION [TABLE]: for every file, in order, until one fails: "complaint" is what that says then
  local index mode owner group sha new path real beside
  while IFS=' ' read -r index mode owner group sha new path; do
    find_real
    # Hidden, so that nobody who reads the folder takes it for one of his: the kubelet reads its manifests so.
    beside=${real%/*}/.${real##*/}.kubeharden-new
    # In a process of its own only where there is something to tell, so once more: none of them minds.
    "$1" </dev/null >/dev/null 2>&1 || complaint=$("$1" </dev/null 2>&1) || {
      complaint="$path: $complaint"
      return 1
    }
  done <"$folder/${2:-files}"
}

find_real() { # sets "real": where the path of a file really is; where a link led when this began
  real=$root$path
  [ ! -e "$folder/real.$index" ] || get real "$folder/real.$index"
}

each_seen() { # FUNCTION [TABLE]: for every file; "see" tells it the digest of the next one
  local places='' sums
  each add_real "${2:-files}"
  sums=$([ -z "$places" ] || with_places sha256sum) || sums=''
  each "$1" "${2:-files}"
}

see() { # sets "sum" to its SHA-256; "absent" where there is none, "none" of what cannot be read as a file
  sum=none
  if [ -f "$real" ]; then
    sum=${sums%% *}
    sum=${sum#\\} # which is there where the path has one
    sums=${sums#*"$newline"}
    sum=${sum:-none}
  elif [ ! -e "$real" ]; then
    sum=absent
  fi
}

add_real() { [ ! -f "$real" ] || places="$places$real$newline"; }

with_places() { # COMMAND...: becomes that command, with the paths in "places", one a line, too
  IFS=$newline
  set -f
  # shellcheck disable=SC2086
  exec "$@" $places
}

# --- putting back ---------------------------------------------------------------------------------------------

put_back_and_conclude() {
  local why
  recall
  set --
  [ ! -e "$folder/why" ] || set -- "$folder/why"
  enter reverting "$@" # or not: the disk may be full
  put_all_back || return
  why=$(show "$folder/why")
  why=${why:-${reason:-nobody confirmed it within $deadline s}}
  if rebooted_since; then
    systemctl daemon-reload
    # It starts after this; where it runs already, it is not waited for, or each would wait for the other.
    look
    [ "$pid" = 0 ] || [ "$reached" != service ] || systemctl --no-block restart "$service.service"
    conclude reverted "the node was restarted before anybody confirmed the change; $after"
  elif [ "$reached" != service ] && ran_on; then
    conclude reverted "$why; $after, and $service was not restarted"
  elif look && restart "$pid"; then
    conclude reverted "$why; $after, and $service runs as before"
  else
    conclude failed "$why; $after, BUT $service DOES NOT RUN WITH THEM EITHER"
  fi
}

ran_on() { # the same process as before any file was exchanged: a program may watch its file, and end with a new one
  local before
  [ -e "$folder/running" ] || return 0
  get before "$folder/running"
  ! within 1 is_another "$before"
}

rebooted_since() { # it began
  local began_in is_in
  get began_in "$folder/boot"
  get is_in "$root/proc/sys/kernel/random/boot_id"
  [ -n "$began_in" ] && [ "$is_in" != "$began_in" ]
}

put_all_back() { # sets "after" to the words for it; what cannot be put back stays open, for whoever mends that
  local lost=''
  after='the files are as before'
  case $reached in
  '' | timer) # whatever is there now, nothing of it is from here
    each unstage
    return 0
    ;;
  *) ;;
  esac
  each_seen put_back reversed
  each_seen find_lost
  if [ -n "$lost" ]; then
    note words "THESE FILES COULD NOT BE PUT BACK: $lost(their old content is in ${folder#"$root"}). \
Mend that, then, on the node: sudo sh ${base#"$root"}/transaction.sh undo $run"
    enter stuck "$folder/words"
    echo "kubeharden: $run: $service: $(show "$folder/words")"
    unlock
    return 1
  fi
  [ ! -s "$folder/found" ] || after="$after (somebody had changed $(show "$folder/found")meanwhile: see ${folder#"$root"})"
}

find_lost() {
  see
  [ "$sum" = "$sha" ] || lost="$lost$path "
}

unstage() { rm -f "$beside"; }

put_back() { # goes on over a file that cannot be put back: the others still can
  local sum owned
  see
  unstage
  owned=$(owners "$folder/old.$index" "$real" 2>/dev/null)
  if [ "$sum" = "$sha" ] && { [ "$sha" = absent ] || [ "${owned%%"$newline"*}" = "${owned#*"$newline"}" ]; }; then
    return 0
  fi
  case $sum in
  "$sha" | "$new" | absent) ;;
  *) cp -p "$real" "$folder/found.$index" && printf '%s ' "$path" >>"$folder/found" ;; # somebody's own
  esac
  if [ "$sha" = absent ]; then
    rm -f "$real"
  else
    { copy "$folder/old.$index" "$beside" || cp -p "$folder/old.$index" "$beside"; } && sync "$beside" &&
      mv -f "$beside" "$real"
  fi
  [ ! -d "${real%/*}" ] || sync "${real%/*}"
  return 0
}

# --- the service ----------------------------------------------------------------------------------------------

look() { # sets pid, active and sub, and "identity": another process, or the same restarted, has another
  local show restarts='' started=''
  active='' sub=''
  show=$(systemctl show -p MainPID,ActiveState,SubState,NRestarts,ExecMainStartTimestamp "$service.service")
  property pid MainPID
  pid=${pid:-0}
  property active ActiveState
  property sub SubState
  property restarts NRestarts
  property started ExecMainStartTimestamp
  identity="$pid $active $restarts $started"
}

restart() { # PID: that of before; and wait until it runs as a new process, and has as the same one for as long as it must
  local old="$1"
  systemctl daemon-reload
  systemctl reset-failed "$service.service" >/dev/null 2>&1 # or its own start limit may keep it down
  systemctl restart "$service.service" &
  [ -z "$hasten" ] || hasten "$old"
  wait $! && settled "$old"
}

hasten() { # PID: told to stop, it would stay while connections are open; a second SIGTERM ends it at once
  within 2 is_another "$1" || systemctl kill -s TERM "$service.service"
}

is_another() { # PID: the process that runs, or none
  look
  [ "$pid" != "$1" ]
}

settled() { # PID: that of before
  local first
  within 10 is_decided "$1" && [ "$active" = active ] || return 1
  [ "$settle" != 0 ] || return 0
  first=$identity
  sleep "$settle"
  look
  [ "$identity" = "$first" ]
}

is_decided() { # PID: another one runs, or none will
  look
  case $active:$sub:$pid in
  active:*:0 | active:*:"$1") return 1 ;;
  active:* | *:auto-restart*:* | *:failed:* | *:dead:*) return 0 ;;
  *) return 1 ;;
  esac
}

# --------------------------------------------------------------------------------------------------------------

main() { # VERB [RUN]
  verb=$1
  case $verb in
  begin | state | clean | boot) run='' && "$verb" ;;
  confirm | undo | old | work | revert)
    local row="${2:-}"
    [ -n "$row" ] || read -r row
    load "${row#run }"
    if ! known "$run" || [ ! -e "$folder/state" ]; then answer failed "this node knows no run '$run'"; else "$verb"; fi
    ;;
  *) echo "transaction.sh cannot $verb" >&2 && return 127 ;;
  esac
}
