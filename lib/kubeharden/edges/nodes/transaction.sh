# Changes the files of one service on this node and restarts it, as one transaction: unless somebody confirms the
# change in time, the node puts everything back by itself.
#
#   sh transaction.sh begin <ARCHIVE     starts one and follows it until it waits or is over
#   ... confirm | undo                     the change stays, or is put back at once; RUN as an argument, or as a line "run RUN"
#   ... state                              the transactions that this node knows, one a line
#   ... old <RUN, SHA                      what it has backed up with that digest, in base64 between "@old" and "@end"
#
# Sent over SSH (see session.sh), these only start the work and look at it. The work itself is done by a copy of this
# script in /var/lib/kubeharden/RUN, in units of systemd, so that no connection and no controller is needed for it:
#
#   work RUN     kubeharden-RUN.service, transient: stage, check, back up, arm, rename into place, restart, watch
#   revert RUN   kubeharden-RUN-revert.service, started by its timer, by a worker that failed, or by undo
#   boot RUN     kubeharden-keeper.service, a unit file that is there only while a change is open: after a reboot,
#                when transient units are gone, it puts the files back before the service starts
#
# The archive (of tar) is that folder, made by the controller (nodes/transaction.py). No value of it is ever part of a
# command line. In it are:
#
#   transaction.sh    this script
#   settings          lines of a name and a value:
#                       run ID             names the folder below /var/lib/kubeharden
#                       holder TEXT        who has the node while the change is open
#                       restart SERVICE    after daemon-reload
#                       settle SECONDS     how long it must run without a break
#                       deadline SECONDS   how long until the node puts back what nobody has confirmed
#                       hasten yes         a second SIGTERM ends the service at once
#   files             a line each: NUMBER MODE OWNER GROUP BEFORE AFTER PATH, with the SHA-256 of the content that is to
#                     be replaced and of that which replaces it; "absent" is a file that is not there
#   reversed          the same lines, the last one first
#   new.NUMBER        the new content
#   check/...           the new units once more, in folders as systemd wants them: its own check looks for drop-ins there
#   argv              where the program can check its file: the flag with which it does, then the new command line,
#                     one word a line
#   confirm, revert   the two verdicts, each the word and a newline
#   digests           of all the others, as sha256sum -c reads them; it comes last
#
# Files are put in place in the order of "files", config files before the unit that names them, and put back in the
# reverse order. A path that is a symbolic link is followed. Prints "@result WORD TIME", then words. TIME is when the
# service was restarted (RFC 3339, UTC, this node's clock). WORD:
#
#   waiting    it runs with the new files; confirm it
#   stale      a file is no longer what the plan was made against; nothing was changed
#   busy       another transaction has the node; nothing was changed
#   unchanged  the files were as they should be, and the process that runs was started with them
#   failed     nothing was changed, or something could not be put back: the words say which
#   reverted   it was changed and is as it was before
#   confirmed  the change stays
#
# The states of a transaction, each a line at the end of the file "state" and on disk before what comes after it:
#
#   begun -> arming -> armed -> restarting -> waiting -> confirmed          (busy, stale, unchanged, failed: from begun)
#              +--------+---------+-----------+-----> reverting -> reverted, failed or stuck
#
# What decides between confirm and revert is the file "verdict": a hard link to one of the two words, which only one of
# them can make. KUBEHARDEN_ROOT: see observe.sh. On a node with work to do, programs take time, and waiting for the disk
# takes more: what the shell can do itself, it does, and what must be on disk goes there in as few calls as can be.
set -u
LC_ALL=C
export LC_ALL
umask 077
root=${KUBEHARDEN_ROOT:-}
base=$root/var/lib/kubeharden
units=$root/etc/systemd/system
wants=$units/multi-user.target.wants
keeper=kubeharden-keeper.service
kept=20 # folders of transactions, with their backups

# --- small things ---------------------------------------------------------------------------------------------

show() { # FILE, as it is; nothing where there is none
  [ ! -e "$1" ] || while IFS= read -r line || [ -n "$line" ]; do printf '%s\n' "$line"; done <"$1"
}

first_line() { # FILE: sets "line"; empty where there is none
  line=''
  { IFS= read -r line <"$1"; } 2>/dev/null
}

answer() { # WORD [MESSAGE]: or what the transaction says of itself
  first_line "$folder/restarted"
  printf '@result %s %s\n' "$1" "$line"
  if [ $# -gt 1 ]; then printf '%s\n' "$2"; else show "$folder/words"; fi
  exit 0
}

note() { # NAME TEXT: a file of this transaction; the next state brings it to the disk
  printf '%s\n' "$2" >"$folder/$1"
}

say() { # STATE: not yet on disk
  # What a power cut or a full disk leaves of a line is none of the states, and the next line does not go on with it.
  printf '\n%s\n' "$1" >>"$folder/state"
}

enter() { # STATE [PATH...]: on disk, and these before it, when this returns
  say "$1" || return 1
  shift
  sync "$@" "$folder/state" "$folder"
}

recall() { # [RUN]: sets "now" to its state, empty where there is none, and "reached" to how far it came
  now='' reached=''
  {
    while read -r line; do
      case $line in
      armed) now=$line reached=files ;;
      restarting | waiting) now=$line reached=service ;;
      begun | arming | reverting | stuck | confirmed | reverted | failed | stale | busy | unchanged) now=$line ;;
      esac
    done <"$base/${1:-$run}/state"
  } 2>/dev/null
}

is_now() { # STATE [RUN]
  recall "${2:-}"
  [ "$now" = "$1" ]
}

digest() { # FILE: sets "sum"
  sum=absent
  [ ! -e "$1" ] || { sum=$(sha256sum <"$1") && sum=${sum%% *}; }
}

owners() { # FILE: sets "owned" to mode, owner and group; by number where the system knows no name
  owned=$(stat -c '%a %U %u %G %g' "$1") || return 1
  # shellcheck disable=SC2086
  set -- $owned
  [ "$2" != UNKNOWN ] || set -- "$1" "$3" "$3" "$4" "$5"
  [ "$4" != UNKNOWN ] || set -- "$1" "$2" "$3" "$5"
  owned="$1 $2 $4"
}

alive() { # UNIT...: any of them
  for word in $(systemctl is-active "$@"); do
    case $word in active | activating | deactivating) return 0 ;; esac
  done
  return 1
}

known() { # RUN: a name that may stand in a path and in the name of a unit
  case $1 in '' | .* | *[!A-Za-z0-9._-]*) return 1 ;; esac
}

load() { # RUN
  run=$1
  folder=$base/$run
  named='' service='' settle='' deadline='' since='' holder='' hasten=''
  {
    while IFS= read -r line; do
      case $line in
      "run "*) named=${line#* } ;;
      "restart "*) service=${line#* } ;;
      "settle "*) settle=${line#* } ;;
      "deadline "*) deadline=${line#* } ;;
      "since "*) since=${line#* } ;;
      "holder "*) holder=${line#* } ;;
      "hasten "*) hasten=yes ;;
      esac
    done <"$folder/settings"
  } 2>/dev/null
}

busied() { # RUN: something of it works
  alive "kubeharden-$1.service" "kubeharden-$1-revert.service" "$keeper"
}

is_cut_off() { # STATE: of one of which nothing works any more
  case $1 in begun | arming | armed | restarting | reverting) return 0 ;; esac
  return 1
}

rebooted_since() { # RUN began
  first_line "$base/$1/boot"
  began_in=$line
  first_line "$root/proc/sys/kernel/random/boot_id"
  [ -n "$began_in" ] && [ -n "$line" ] && [ "$line" != "$began_in" ]
}

is_over() { # STATE
  case $1 in confirmed | reverted | failed | stale | busy | unchanged) return 0 ;; esac
  return 1
}

each() { # FUNCTION [TABLE]: for every file, in order, until one fails; what it says is kept as the complaint
  while IFS=' ' read -r index mode owner group sha new path; do
    find_real
    # Hidden, so that nobody who reads the folder takes it for one of his: the kubelet reads its manifests so.
    beside=${real%/*}/.${real##*/}.kubeharden-new
    "$1" </dev/null >"$folder/complaint" 2>&1 || {
      complaint=$(show "$folder/complaint")
      return 1
    }
  done <"$folder/${2:-files}"
}

find_real() { # sets "real": where a path really is; where a link led when this began
  real=$root$path
  [ ! -e "$folder/real.$index" ] || IFS= read -r real <"$folder/real.$index"
}

# --- begin: takes the archive, starts the work, follows it ----------------------------------------------------

receive() { # the archive, as a folder that appears only when it is whole
  folder=$base/.incoming.$$
  [ ! -e "$folder" ] || rm -rf "$folder" # this session was cut off in here before
  { [ -d "$base" ] || mkdir -p "$base"; } && mkdir "$folder" && : >"$folder/complaint" ||
    refuse_payload "cannot write below ${base#"$root"}"
  tar -xmof - -C "$folder" 2>"$folder/complaint" && [ -s "$folder/digests" ] &&
    (cd "$folder" && sha256sum -c digests >>complaint 2>&1) || refuse_payload "what was sent did not arrive whole, or \
cannot be written below ${base#"$root"}: $(show "$folder/complaint")"
  load "${folder##*/}"
  known "$named" || refuse_payload "a run cannot be called '$named'"
  {
    printf 'since %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" >>"$folder/settings" &&
      first_line "$root/proc/sys/kernel/random/boot_id" && note boot "$line" && note session $$ &&
      mkfifo "$folder/working" && each note_real && printf 'begun\n' >"$folder/state"
  } || refuse_payload "cannot write below ${base#"$root"}"
  is_new=yes
  recall "$named"
  case $now in
  reverted | failed) mv "$base/$named" "$base/$named.$(date +%s)" ;; # a new attempt
  # This very transaction was begun before, and the answer to that was lost.
  ?*) is_new='' ;;
  esac
  if [ -n "$is_new" ]; then
    [ ! -e "$base/$named" ] || rm -rf "${base:?}/$named"
    mv "$folder" "$base/$named"
  else
    rm -rf "$folder"
  fi
  load "$named"
}

note_real() { # where a link leads, stays what it is now
  [ ! -h "$real" ] || readlink -f "$real" >"$folder/real.$index" || printf '%s\n' "$real" >"$folder/real.$index"
}

refuse_payload() { # WHY
  cat >/dev/null # the rest of what was sent is not to be taken for the next request
  rm -rf "$folder"
  answer failed "$1; nothing was changed"
}

begin() {
  receive
  if [ -p "$folder/working" ]; then exec 8<>"$folder/working"; else exec 8</dev/null; fi # open: no word of it is lost
  if [ -n "$is_new" ] || ! is_at_work; then
    start_work || is_at_work || refuse_payload "systemd-run does not start the work: $complaint"
  fi
  follow
}

start_work() {
  run_work && return
  systemctl reset-failed "kubeharden-$run.service" 2>/dev/null # of an attempt before, perhaps
  run_work
}

run_work() {
  complaint=$(systemd-run --unit="kubeharden-$run" /bin/sh "${folder#"$root"}/transaction.sh" work "$run" 2>&1)
}

is_at_work() { # or past it: for somebody who began the same, or by a systemd-run that was killed once it had started it
  ! is_now begun || has_lock "$run" || alive "kubeharden-$run.service"
}

follow() { # until it waits for the verdict or is over; a worker that is gone is not waited for
  while :; do
    recall
    case $now in
    waiting | stuck) give_account ;;
    '') answer failed 'another transaction took its place before it began; nothing was changed' ;;
    esac
    if is_over "$now"; then
      wait_for_release
      # Nothing was changed, so nothing need be kept.
      case $now in stale | busy | unchanged) (give_account) && rm -rf "$folder" && exit 0 ;; esac
      give_account
    fi
    was=$now
    if ! hear && is_cut_off "$now" && ! busied "$run" && is_now "$was"; then
      start_revert 'its work was cut off'
    fi
  done
}

hear() { # whether it tells something, within a second
  [ -p "$folder/working" ] || { sleep 1 && return 1; }
  # Without fd 8: should "timeout" be killed, it ends with this session.
  timeout 1 head -n 1 <"$folder/working" 8<&- >/dev/null 2>&1
}

give_account() { # what the transaction says of itself
  [ "$now" != stuck ] || answer failed
  answer "$now"
}

tell() { # whoever follows that there is something to see
  [ ! -p "$folder/working" ] || echo look 1<>"$folder/working"
}

wait_for_release() { # what was to be done once it was over may have been cut off
  while has_lock "$run"; do
    busied "$run" || (finish)
    sleep 0.1
  done
}

# --- work: in a unit of its own -------------------------------------------------------------------------------

work() {
  is_now begun || exit 0
  take_lock || conclude busy "$busy"
  prune
  compare_all
  if [ -n "$same" ] && was_started_with_these; then
    conclude unchanged "the files are as they should be, and $service runs with them"
  fi
  [ -z "$stale" ] || conclude stale "$stale has changed since it was read; nothing was changed"
  each back_up || give_up "cannot back up $path to ${folder#"$root"}: $complaint"
  each stage || give_up "cannot write $path: $complaint"
  check || give_up "$complaint"
  sync_staged || give_up "cannot write what is to be put in place: $complaint"
  arm || give_up "cannot arm the timer that would put it back: $complaint"

  each install_file || fail "cannot replace $path: $complaint"
  { say restarting && sync_places; } || fail "cannot write below ${base#"$root"}: $complaint"
  note restarted "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
  if ! restart || ! settled; then
    note journal "$(journalctl -q --no-pager -o cat -u "$service.service" -n 30)"
    fail "$service did not come up"
  fi
  process=$identity
  note process "$process"
  note words "$service runs as process $pid"
  enter waiting "$folder/restarted" "$folder/process" "$folder/words" || fail "cannot write below ${base#"$root"}"
  tell
  while
    sleep 1
    is_now waiting
  do
    look
    [ "$identity" = "$process" ] || fail "$service did not stay up while this waited to be confirmed"
  done
  echo "kubeharden: $run: $service: $now"
}

conclude() { # STATE WORDS: it is over
  words=$2
  [ ! -e "$folder/journal" ] || words="$2
Its journal says:
$(show "$folder/journal")"
  note words "$words"
  enter "$1" "$folder/words" || exit 1 # to be tried again by whoever meets it next
  echo "kubeharden: $run: $service: $1: $2"
  finish
}

finish() { # what is left to do once it is over; again, should it have been cut off
  [ ! -p "$folder/working" ] || exec 9<>"$folder/working"
  set --
  for place in "$units/$keeper.new" "$units/$keeper"; do
    if is_my_keeper "$place"; then set -- "$@" "$wants/$keeper" "$place"; fi
  done
  kept_me=$#
  # What only an open transaction needs; the backups stay.
  set -- "$@" "$folder"/new.* "$folder"/real.* "$folder/check" "$folder/written" "$folder/complaint" \
    "$folder/broken" "$folder/argv" "$folder/working"
  rm -rf "$@"
  [ "$kept_me" = 0 ] || sync "$units" "$wants"
  # Should this have been cut off until here, the timer does it again. From the lock on, the node is another's.
  systemctl stop "kubeharden-$run-revert.timer" 2>/dev/null
  systemctl reset-failed "kubeharden-$run.service" "kubeharden-$run-revert.service" 2>/dev/null
  if has_lock "$run"; then rm -f "$base/lock"; fi
  { echo over >&9; } 2>/dev/null
  exit 0
}

is_my_keeper() { # FILE: and not another transaction's
  [ -e "$1" ] || return 1
  while IFS= read -r line; do
    case $line in *" boot $run") return 0 ;; esac
  done <"$1"
  return 1
}

give_up() { # WHY: before anything was renamed
  each unstage
  conclude failed "$1; nothing was changed"
}

fail() { # WHY: puts everything back, in the unit that does that whoever asks for it
  start_revert "$1"
  exit 0
}

start_revert() { # WHY
  note why "$1" && sync "$folder/why" "$folder"
  systemctl start "kubeharden-$run-revert.service" 2>/dev/null && return # the timer's, if there is one
  systemctl reset-failed "kubeharden-$run-revert.service" 2>/dev/null
  systemd-run --unit="kubeharden-$run-revert" /bin/sh "${folder#"$root"}/transaction.sh" revert "$run" 2>/dev/null
}

compare_all() { # with what there is now: sets "same" where all is in place, and "stale" to a file that somebody changed
  same=yes stale=''
  [ -s "$folder/files" ] || same=''
  each compare
}

compare() {
  digest "$real"
  [ "$sum" = "$sha" ] || stale=${stale:-$path}
  if [ "$sum" != "$new" ]; then
    same=''
  elif [ "$new" != absent ] && [ -n "$same" ]; then
    owners "$real" && [ "$owned" = "$mode $owner $group" ] || same=''
  fi
}

was_started_with_these() { # the process, by a transaction that put the same in place
  look
  for other in "$base"/*/process; do
    other=${other%/process}
    first_line "$other/process"
    if [ "$line" = "$identity" ] && is_now confirmed "${other##*/}" &&
      [ "$(cut -d ' ' -f 1-4,6- "$other/files")" = "$(cut -d ' ' -f 1-4,6- "$folder/files")" ]; then
      return 0
    fi
  done
  return 1
}

back_up() { [ "$sha" = absent ] || cp -p "$real" "$folder/old.$index"; }

sync_staged() { # and what it takes to put everything back: all that must be on disk before anything is put in place
  set -- "$folder/transaction.sh" "$folder/settings" "$folder/files" "$folder/reversed" "$folder/boot"
  set -- "$@" "$folder/confirm" "$folder/revert" "$folder/state" "$folder" "$base"
  for file in "$folder"/old.* "$folder"/real.*; do
    [ ! -e "$file" ] || set -- "$@" "$file"
  done
  while IFS=' ' read -r index _ _ _ _ _ path; do
    find_real
    file=${real%/*}/.${real##*/}.kubeharden-new
    [ ! -e "$file" ] || set -- "$@" "$file"
  done <"$folder/files"
  complaint=$(sync "$@" 2>&1)
}

sync_places() { # the folders in which files were put, with the state
  set --
  while IFS=' ' read -r index _ _ _ _ _ path; do
    find_real
    [ ! -d "${real%/*}" ] || set -- "$@" "${real%/*}"
  done <"$folder/files"
  complaint=$(sync "$@" "$folder/state" 2>&1)
}

stage() { # beside its target, so that the rename stays on one file system
  [ "$new" != absent ] || return 0
  { [ -d "${real%/*}" ] || mkdir -p "${real%/*}"; } &&
    install -m "$mode" -o "$owner" -g "$group" "$folder/new.$index" "$beside"
}

unstage() { rm -f "$beside"; }

install_file() { if [ "$new" = absent ]; then rm -f "$real"; else mv -f "$beside" "$real"; fi; }

# --- check: what systemd and the program itself say of the new files, before they are in place ----------------

check() { # what cannot be checked on this node passes
  check_unit && check_config
}

check_unit() {
  [ -d "$folder/check" ] && command -v systemd-analyze >/dev/null || return 0
  fragment=''
  if [ ! -e "$folder/check/$service.service" ]; then
    find_fragment
    cp "$root$fragment" "$folder/check/$service.service"
  fi
  complaint="systemd-analyze verify refuses the new unit: $(
    systemd-analyze --man=no verify "${folder#"$root"}/check/$service.service" 2>&1
  )" && return 0
  # What it does not like in the unit that runs either is not a reason.
  [ -n "$fragment" ] || find_fragment
  ! systemd-analyze --man=no verify "$fragment" >/dev/null 2>&1
}

find_fragment() {
  fragment=$(systemctl show -p FragmentPath "$service.service")
  fragment=${fragment#FragmentPath=}
}

check_config() { # the program reads its file, says what is wrong with it, and ends
  [ -s "$folder/argv" ] || return 0
  set --
  {
    IFS= read -r flag
    IFS= read -r program
    while IFS= read -r word; do set -- "$@" "$(checked "$word")"; done
  } <"$folder/argv"
  case $program in /*) program=$root$program ;; esac
  status=0
  complaint=$(timeout 20 "$program" "$flag=${folder#"$root"}/written" "$@" 2>&1) || status=$?
  case $status:$complaint in
  # 124: it took too long. A scheduler wants its ports first; a release may lack the flag. None is a refusal.
  0:* | 124:* | *'address already in use'* | *"unknown flag: $flag"*) return 0 ;;
  esac
  complaint="$service refuses the new configuration: $complaint"
  return 1
}

checked() { # WORD of the command line, with the path of its new content for that of a file that is to be replaced
  word=$1
  while IFS=' ' read -r index _ _ _ _ _ path; do
    case $1 in "$path" | --config="$path") word=${1%"$path"}${folder#"$root"}/new.$index ;; esac
  done <"$folder/files"
  printf '%s\n' "$word"
}

# --- the service ----------------------------------------------------------------------------------------------

look() { # sets pid, active, sub and restarts, and "identity": another process, or the same restarted, has another
  pid=0 active='' sub='' restarts='' started=''
  while IFS='=' read -r name value; do
    case $name in
    MainPID) pid=$value ;;
    ActiveState) active=$value ;;
    SubState) sub=$value ;;
    NRestarts) restarts=$value ;;
    ExecMainStartTimestamp) started=$value ;;
    esac
  done <<SHOWN
$(systemctl show -p MainPID -p ActiveState -p SubState -p NRestarts -p ExecMainStartTimestamp "$service.service")
SHOWN
  identity="$pid $active $restarts $started"
}

restart() {
  systemctl daemon-reload
  systemctl reset-failed "$service.service" >/dev/null 2>&1 # or its own start limit may keep it down
  look
  old=$pid
  systemctl restart "$service.service" &
  [ -z "$hasten" ] || hasten
  wait $!
}

hasten() { # Told to stop, it would stay while connections are open; a second SIGTERM ends it at once.
  waited=0
  look
  while [ "$pid" = "$old" ] && [ "$waited" -lt 10 ]; do
    sleep 0.2
    waited=$((waited + 1))
    look
  done
  [ "$pid" != "$old" ] || systemctl kill -s TERM "$service.service"
}

settled() { # runs as a new process, and as the same one for as long as it must
  waited=0
  while look && { [ "$active" != active ] || [ "$pid" = 0 ] || [ "$pid" = "$old" ]; }; do
    case $sub in auto-restart* | failed | dead) return 1 ;; esac
    [ "$waited" -lt 50 ] || return 1
    waited=$((waited + 1))
    sleep 0.2
  done
  first="$pid $restarts"
  sleep "$settle"
  look
  [ "$active" = active ] && [ "$pid $restarts" = "$first" ]
}

# --- one at a time --------------------------------------------------------------------------------------------

whose() { # FILE: sets "holding" to the run that a lock names; empty where there is none
  holding=''
  { while IFS= read -r line; do case $line in "run "*) holding=${line#* } ;; esac; done <"$1"; } 2>/dev/null
}

has_lock() { # RUN
  whose "$base/lock"
  [ "$holding" = "$1" ]
}

take_lock() { # or says in "busy" who has it
  ln "$folder/settings" "$base/lock" 2>/dev/null && return 0
  whose "$base/lock"
  other=$holding
  if known "$other" && [ "$other" != "$run" ]; then
    # Its worker was killed, or the keeper after a reboot: nobody but the timer, if there still is one, would end
    # it, so it is ended here and now.
    recall "$other"
    if { is_cut_off "$now" || rebooted_since "$other"; } && ! busied "$other"; then end_the_dead "$other"; fi
    recall "$other"
    if [ -n "$now" ] && ! is_over "$now"; then
      busy="this node is held by $(sed -n 's/^holder //p' "$base/lock") since $(sed -n 's/^since //p' "$base/lock") \
(run $other, which is $now). It is over, one way or the other, $(sed -n 's/^deadline //p' "$base/lock") s after it \
began. If nobody is behind it any more, put it back at once, on the node: \
sudo sh ${base#"$root"}/$other/transaction.sh undo $other. Nothing was changed"
      return 1
    fi
  fi
  # Its transaction is over: it is not a lock. Whoever moves it away may try once more.
  mv "$base/lock" "$folder/broken" 2>/dev/null && whose "$folder/broken" && [ "$holding" != "$other" ] &&
    ln "$folder/broken" "$base/lock" # somebody else's, taken in between
  ln "$folder/settings" "$base/lock" 2>/dev/null && return 0
  busy='another transaction has just begun on this node. Nothing was changed'
  return 1
}

end_the_dead() { # RUN
  mine=$run
  load "$1"
  start_revert 'its work was cut off'
  waited=0
  while recall && ! is_over "$now" && [ "$waited" -lt 600 ]; do
    waited=$((waited + 1))
    sleep 0.1
  done
  load "$mine"
}

prune() { # folders of long ago, and what a session left that was cut off before the work began
  for other in "$base"/.incoming.*; do
    [ ! -e "$other" ] || in_session "${other##*.}" || rm -rf "$other"
  done
  count=0
  for other in "$base"/*/state; do
    other=${other%/state}
    other=${other##*/}
    [ "$other" != "$run" ] || continue
    count=$((count + 1))
    recall "$other"
    # Before that state was on disk, there may have been a power cut.
    case $now in '' | begun) ! is_left "$other" || rm -rf "${base:?}/$other" ;; esac
  done
  [ "$count" -lt "$kept" ] || prune_by_age
}

prune_by_age() {
  count=0
  # Names of runs have no blanks: see known.
  for other in $(cd "$base" && ls -1t); do
    # One without a state is not of this script; an open one holds the lock, which is this run's.
    if [ -e "$base/$other/state" ] && [ "$other" != "$run" ]; then
      count=$((count + 1))
      [ "$count" -lt "$kept" ] || rm -rf "${base:?}/$other"
    fi
  done
}

is_left() { # RUN: nothing works on it, and nobody is about to start its work
  first_line "$base/$1/session"
  ! in_session "$line" && ! busied "$1"
}

in_session() { # PROCESS: whether it is a session of this script
  # By its command line: one that was killed, but not yet waited for, still has its number, as may a stranger.
  grep -qs kubeharden-session "/proc/$1/cmdline"
}

# --- armed: what puts it back whatever happens ----------------------------------------------------------------

arm() {
  { write_keeper && start_timer "$deadline" && alive "kubeharden-$run-revert.timer"; } >"$folder/complaint" 2>&1 &&
    say armed && sync "$units" "$wants" "$folder/state" && return
  complaint=$(show "$folder/complaint")
  return 1
}

write_keeper() {
  [ -d "$wants" ] || mkdir -p "$wants" || return 1
  say arming || return 1
  # Others may read it, as the units beside it.
  (umask 022 && printf '%s\n' "# Of kubeharden. It is here while a change to $service waits to be confirmed, and goes with it." \
    '[Unit]' \
    "Description=kubeharden: after a reboot, puts back the files of $service that nobody had confirmed" \
    "Before=$service.service" \
    'RequiresMountsFor=/var/lib/kubeharden' '' \
    '[Service]' \
    'Type=oneshot' \
    "ExecStart=/bin/sh ${folder#"$root"}/transaction.sh boot $run" '' \
    '[Install]' \
    'WantedBy=multi-user.target' >"$units/$keeper.new") || return 1
  sync "$folder/state" "$units/$keeper.new" && mv -f "$units/$keeper.new" "$units/$keeper" &&
    ln -sf "../$keeper" "$wants/$keeper"
}

start_timer() { # SECONDS
  # systemd before 227 lacks the option, and is up to a minute late.
  run_timer "$1" --timer-property=AccuracySec=100ms || run_timer "$1"
}

run_timer() { # SECONDS [OPTION]: again and again until it is over, should somebody kill it while it works
  later=$1
  shift
  systemd-run --unit="kubeharden-$run-revert" --on-active="${later}s" --on-unit-inactive=5s "$@" \
    /bin/sh "${folder#"$root"}/transaction.sh" revert "$run"
}

# --- the verdict ----------------------------------------------------------------------------------------------

give_verdict() { # WORD: whether this is the verdict, given now or before; the state that follows brings it to the disk
  ln "$folder/$1" "$folder/verdict" 2>/dev/null
  is_verdict "$1"
}

is_verdict() { # WORD
  first_line "$folder/verdict"
  [ "$line" = "$1" ]
}

confirm() {
  recall
  if [ "$now" = waiting ]; then
    look
    first_line "$folder/process"
    if [ "$identity" != "$line" ]; then
      start_revert "$service was restarted since it was proved"
      follow_revert
    fi
    give_verdict confirm && keep_it
    follow_revert # the node was quicker
  fi
  is_over "$now" || follow_revert
  answer "$now"
}

keep_it() {
  enter confirmed || exit 1 # whoever comes next finds the verdict
  [ "$verb" = confirm ] || finish
  (finish)
  answer confirmed
}

undo() {
  recall
  if [ -z "$now" ]; then answer failed "this node knows no run $run"; fi
  [ "$now" != stuck ] || enter reverting
  is_over "$now" || start_revert 'it was undone'
  follow_revert
}

follow_revert() {
  while :; do
    recall
    if is_over "$now"; then
      wait_for_release
      answer "$now"
    fi
    [ "$now" != stuck ] || answer failed
    was=$now
    alive "kubeharden-$run-revert.service" || ! is_now "$was" || start_revert 'it was undone'
    sleep 0.1
  done
}

# --- putting back ---------------------------------------------------------------------------------------------

revert() {
  recall
  if is_over "$now"; then finish; fi
  [ ! -e "$base/lock" ] || has_lock "$run" || exit 0 # these files are another's by now
  ! alive "$keeper" || exit 0                        # after a reboot: it is still at it
  give_verdict revert
  ! is_verdict confirm || keep_it
  systemctl stop "kubeharden-$run.service" 2>/dev/null # it must not go on beside this
  recall                                               # it may have come further until it was stopped
  enter reverting
  put_all_back
  why=$(show "$folder/why")
  why=${why:-nobody confirmed it within $deadline s}
  [ "$reached" = service ] || conclude reverted "$why; $after, and $service was not restarted"
  if restart && settled; then
    conclude reverted "$why; $after, and $service runs as before"
  fi
  conclude failed "$why; $after, BUT $service DOES NOT RUN WITH THEM EITHER"
}

boot() {
  rebooted_since "$run" || exit 0 # the timer lives
  recall
  if is_over "$now"; then finish; fi
  give_verdict revert
  ! is_verdict confirm || keep_it
  start_timer 20 # should somebody kill this
  enter reverting
  put_all_back
  systemctl daemon-reload
  # It starts after this one; where it runs already, it is not waited for, or each would wait for the other.
  look
  [ "$pid" = 0 ] || systemctl --no-block restart "$service.service"
  conclude reverted "the node was restarted before anybody confirmed the change; $after"
}

put_all_back() { # or it stays open, with a keeper that tries again after a reboot
  after='the files are as before'
  if [ -z "$reached" ]; then # whatever is there now, nothing of it is from here
    each unstage
    return
  fi
  lost=''
  each put_back reversed || lost="$lost$path "
  if [ -n "$lost" ]; then
    note words "THESE FILES COULD NOT BE PUT BACK: $lost(their old content is in ${folder#"$root"}). \
Mend that, then, on the node: sudo sh ${folder#"$root"}/transaction.sh undo $run"
    enter stuck "$folder/words"
    tell
    echo "kubeharden: $run: $service: $(show "$folder/words")"
    exit 0
  fi
  [ ! -s "$folder/found" ] || after="$after (somebody had changed $(show "$folder/found")meanwhile: see ${folder#"$root"})"
}

sync_place() { [ ! -d "${real%/*}" ] || sync "${real%/*}"; }

is_fresh() {
  digest "$real"
  [ "$sum" = "$sha" ]
}

put_back() { # goes on over a file that cannot be put back: the others still can
  unstage
  if [ "$sha" = absent ]; then
    save_a_third && rm -f "$real"
  elif ! is_fresh || ! is_as_backed_up; then
    save_a_third && cp -p "$folder/old.$index" "$beside" && sync "$beside" && mv -f "$beside" "$real"
  fi
  sync_place
  is_fresh || lost="$lost$path " # not in a file: the disk may be full
}

is_as_backed_up() { # mode and owners
  owners "$folder/old.$index"
  was_owned=$owned
  owners "$real" && [ "$owned" = "$was_owned" ]
}

save_a_third() { # content that is neither the old nor the new
  digest "$real"
  case $sum in
  "$sha" | "$new" | absent) ;;
  *) cp -p "$real" "$folder/found.$index" && printf '%s ' "$path" >>"$folder/found" ;;
  esac
}

# --- what this node knows -------------------------------------------------------------------------------------

list() {
  for other in "$base"/*/state; do
    [ -e "$other" ] || continue
    other=${other%/state}
    load "${other##*/}"
    recall
    open=closed
    if ! is_over "$now" && { has_lock "$run" || busied "$run"; }; then open=open; fi
    printf '@transaction %s %s %s %s %s %s\n' "$run" "$open" "$now" "$service" "$since" "$holder"
  done
  printf '@end\n'
}

old() { # <SHA, in the line after the run's
  read -r sha
  printf '@old\n'
  for file in "$folder"/old.*; do
    [ ! -e "$file" ] || digest "$file"
    if [ -e "$file" ] && [ "$sum" = "$sha" ]; then
      base64 <"$file"
      break
    fi
  done
  printf '@end\n'
}

# --------------------------------------------------------------------------------------------------------------

verb=$1
case $verb in
begin) begin ;;
state) list ;;
*)
  run=${2:-}
  if [ -z "$run" ] && read -r line; then run=${line#run }; fi
  folder=$base/$run
  if ! known "$run" || [ ! -e "$folder/state" ]; then answer failed "this node knows no run '$run'"; fi
  load "$run"
  "$verb"
  ;;
esac
