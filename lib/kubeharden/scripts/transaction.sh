# Changes the files of one service on this node and restarts it, as one transaction: unless somebody confirms the
# change in time, the node puts everything back by itself.
#
#   sh -c "$(cat transaction.sh)" transaction begin <PAYLOAD   starts one and follows it until it waits or is over
#   … confirm | undo            the change stays, or is put back at once; RUN as an argument, or as a payload "run RUN"
#   … state                     the transactions that this node knows, one a line
#   … old <RUN, SHA             what it has backed up with that digest, in base64 between "@old" and "@end"
#
# Sent over SSH, these only start the work and look at it. The work itself is done by a copy of this script in
# /var/lib/kubeharden/RUN, in units of systemd, so that no connection and no controller is needed for it:
#
#   work RUN     kubeharden-RUN.service, transient: stage, check, back up, arm, rename into place, restart, watch
#   revert RUN   kubeharden-RUN-revert.service, started by its timer, by a worker that failed, or by undo
#   boot RUN     kubeharden-keeper.service, a unit file that is there only while a change is open: after a reboot,
#                when transient units are gone, it puts the files back before the service starts
#
# The payload follows a line "kubeharden-payload" (what stands before it is not ours: sudo's password where sudo did
# not ask for one). No value of it is ever part of a command line.
#
#   run ID                         names the folder below /var/lib/kubeharden
#   script, then base64 and "."    this script
#   holder TEXT                    who has the node while the change is open
#   file MODE OWNER GROUP SHA PATH the new file, then base64 and "."; SHA is that of the file it replaces, or "absent"
#   remove SHA PATH                a file that is to go
#   argv, then base64 and "."      the new command line, one word a line, where the program can check its file
#   restart SERVICE                after daemon-reload
#   settle SECONDS                 how long it must run without a break
#   deadline SECONDS               how long until the node puts back what nobody has confirmed
#   end
#
# Files are put in place in the order of the payload, config files before the unit that names them, and put back in
# the reverse order. A path that is a symbolic link is followed. Prints "@result WORD TIME", then words. TIME is when
# the service was restarted (RFC 3339, UTC, this node's clock). WORD:
#
#   waiting    it runs with the new files; confirm it
#   stale      a file is no longer what the plan was made against; nothing was changed
#   busy       another transaction has the node; nothing was changed
#   unchanged  the files were as they should be, and the process that runs was started with them
#   failed     nothing was changed, or something could not be put back: the words say which
#   reverted   it was changed and is as it was before
#   confirmed  the change stays
#
# The states of a transaction, each an atomic rename, on disk before what comes after it:
#
#   begun → arming → armed → restarting → waiting → confirmed          (busy, stale, unchanged, failed: from begun)
#              └────────┴────────┴───────────┴────→ reverting → reverted, failed or stuck
#
# What decides between confirm and revert is the file "verdict": a hard link, which only one of them can make.
# KUBEHARDEN_ROOT: see observe.sh. What the shell can do itself, it does: on a node with work to do, programs take time.
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

answer() { # WORD MESSAGE
  printf '@result %s %s\n%s\n' "$1" "$(cat "$folder/restarted" 2>/dev/null)" "$2"
  exit 0
}

note() { # NAME TEXT: a file of this transaction; the next state brings it to the disk
  printf '%s\n' "$2" >"$folder/$1"
}

enter() { # STATE [NOTE...]: whole or not at all, and on disk with its notes when this returns
  printf '%s\n' "$1" >"$folder/state.$$" || return 1
  shift
  for name in "$@"; do
    shift
    set -- "$@" "$folder/$name"
  done
  sync "$folder/state.$$" "$@" && mv -f "$folder/state.$$" "$folder/state" && sync "$folder"
}

recall() { # [RUN]: sets "now" to its state; empty where there is none
  now=''
  { read -r now <"$base/${1:-$run}/state"; } 2>/dev/null
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

identity() { # of the process that runs: another one, or the same restarted, gives another text
  systemctl show -p MainPID -p NRestarts -p ActiveState -p ExecMainStartTimestamp "$service.service"
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
  service='' settle='' deadline='' since='' holder=''
  {
    while IFS= read -r line; do
      case $line in
      "restart "*) service=${line#* } ;;
      "settle "*) settle=${line#* } ;;
      "deadline "*) deadline=${line#* } ;;
      "since "*) since=${line#* } ;;
      "holder "*) holder=${line#* } ;;
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
  { read -r boot <"$root/proc/sys/kernel/random/boot_id" && read -r began_in <"$base/$1/boot"; } 2>/dev/null &&
    [ "$boot" != "$began_in" ]
}

is_over() { # STATE
  case $1 in confirmed | reverted | failed | stale | busy | unchanged) return 0 ;; esac
  return 1
}

each() { # FUNCTION [TABLE]: for every file, in order, until one fails; what it says is kept as the complaint
  while IFS=' ' read -r index mode owner group sha new path; do
    IFS= read -r real <"$folder/real.$index"
    # Hidden, so that nobody who reads the folder takes it for one of his: the kubelet reads its manifests so.
    beside=${real%/*}/.${real##*/}.kubeharden-new
    "$1" </dev/null >"$folder/complaint" 2>&1 || {
      complaint=$(cat "$folder/complaint")
      return 1
    }
  done <"$folder/${2:-files}"
}

# --- begin: takes the payload, starts the work, follows it ----------------------------------------------------

receive() { # the payload, as a folder that appears only when it is whole
  run='' count=0 complete=''
  folder=$base/.incoming.$$
  while IFS= read -r line && [ "$line" != kubeharden-payload ]; do :; done
  { mkdir -p "$folder" && : >"$folder/files"; } || refuse_payload "cannot write below ${base#"$root"}"
  while IFS= read -r line; do
    case $line in
    "run "*) run=${line#run } ;;
    script) decode transaction.sh ;;
    argv) decode argv ;;
    "file "*)
      count=$((count + 1))
      read -r mode owner group sha path <<WORDS
${line#file }
WORDS
      decode "new.$count"
      digest "$folder/new.$count"
      place "$count $mode $owner $group $sha $sum $path"
      ;;
    "remove "*)
      count=$((count + 1))
      read -r sha path <<WORDS
${line#remove }
WORDS
      place "$count - - - $sha absent $path"
      ;;
    end) complete=yes && break ;;
    *) printf '%s\n' "$line" >>"$folder/settings" ;;
    esac
  done
  [ -n "$complete" ] || refuse_payload 'the payload was cut off'
  known "$run" || refuse_payload "a run cannot be called '$run'"
  {
    printf 'run %s\nsince %s\n' "$run" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" >>"$folder/settings" &&
      sort -rn "$folder/files" >"$folder/reversed" &&
      read -r boot <"$root/proc/sys/kernel/random/boot_id" && note boot "$boot" && note session $$ &&
      enter begun boot settings files reversed
  } || refuse_payload "cannot write below ${base#"$root"}"
  incoming=$folder
  folder=$base/$run
  recall
  case $now in
  reverted | failed) mv "$folder" "$folder.$(date +%s)" ;; # a new attempt
  esac
  # There already: this very transaction was begun before, and the answer to that was lost.
  if [ -e "$folder/state" ]; then rm -rf "$incoming"; else rm -rf "$folder" && mv "$incoming" "$folder"; fi
  sync "$base"
}

place() { # LINE of "files", with "path"; where that really is stays what it is now
  printf '%s\n' "$1" >>"$folder/files" &&
    { readlink -f "$root$path" || printf '%s\n' "$root$path"; } >"$folder/real.$count" ||
    refuse_payload "cannot write below ${base#"$root"}"
}

decode() { # NAME <lines of base64 up to "."
  while IFS= read -r line && [ "$line" != . ]; do printf '%s\n' "$line"; done | base64 -d >"$folder/$1" ||
    refuse_payload "cannot write below ${base#"$root"}"
}

refuse_payload() { # WHY
  rm -rf "$folder"
  answer failed "$1; nothing was changed"
}

begin() {
  receive
  load "$run"
  if is_now begun && ! alive "kubeharden-$run.service" && ! has_lock "$run"; then
    systemctl reset-failed "kubeharden-$run.service" 2>/dev/null
    systemd-run --unit="kubeharden-$run" /bin/sh "${folder#"$root"}/transaction.sh" work "$run" \
      >"$folder/complaint" 2>&1 || refuse_payload "systemd-run does not start the work: $(cat "$folder/complaint")"
  fi
  follow
}

follow() { # until it waits for the verdict or is over; a worker that is gone is not waited for
  looks=0
  while :; do
    recall
    case $now in
    waiting) answer "$now" "$(cat "$folder/words")" ;;
    '') answer failed 'another transaction took its place before it began; nothing was changed' ;;
    stuck) answer failed "$(cat "$folder/words")" ;;
    esac
    if is_over "$now"; then
      wait_for_release
      words=$(cat "$folder/words")
      # Nothing was changed, so nothing need be kept.
      case $now in stale | busy | unchanged) rm -rf "$folder" ;; esac
      answer "$now" "$words"
    fi
    looks=$((looks + 1))
    was=$now
    if [ $((looks % 5)) = 0 ] && is_cut_off "$now" && ! busied "$run" && is_now "$was"; then
      start_revert 'its work was cut off'
    fi
    sleep 0.1
  done
}

wait_for_release() { # what was to be done once it was over may have been cut off
  while has_lock "$run"; do
    busied "$run" || (finish)
    sleep 0.1
  done
}

# --- work: in a unit of its own -------------------------------------------------------------------------------

work() {
  take_lock || conclude busy "$busy"
  prune
  if unchanged; then conclude unchanged "the files are as they should be, and $service runs with them"; fi
  each is_fresh || conclude stale "$path has changed since it was read; nothing was changed"
  { each back_up && sync_backups; } || give_up "cannot back up $path to ${folder#"$root"}: $complaint"
  each stage || give_up "cannot write $path: $complaint"
  check || give_up "$complaint"
  { enter arming && arm; } || give_up "cannot arm the timer that would put it back: $complaint"
  enter armed || give_up "cannot write below ${base#"$root"}"

  { each install_file && each sync_place; } || fail "cannot replace $path: $complaint"
  enter restarting || fail "cannot write below ${base#"$root"}"
  note restarted "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
  if ! restart || ! settled; then
    note journal "$(journalctl -q --no-pager -o cat -u "$service.service" -n 30)"
    fail "$service did not come up"
  fi
  process=$(identity)
  note process "$process"
  note words "$service runs as process $pid"
  enter waiting restarted process words || fail "cannot write below ${base#"$root"}"
  while is_now waiting; do
    sleep 1
    [ "$(identity)" = "$process" ] || fail "$service did not stay up while this waited to be confirmed"
  done
  echo "kubeharden: $run: $service: $now"
}

conclude() { # STATE WORDS: it is over
  words=$2
  [ ! -e "$folder/journal" ] || words="$2
Its journal says:
$(cat "$folder/journal")"
  note words "$words"
  enter "$1" words
  echo "kubeharden: $run: $service: $1: $2"
  finish
}

finish() { # what is left to do once it is over; again, should it have been cut off
  disarm
  clean
  release
  exit 0
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

is_fresh() {
  digest "$real"
  [ "$sum" = "$sha" ]
}

is_installed() {
  digest "$real"
  [ "$sum" = "$new" ] || return 1
  [ "$new" = absent ] || { owners "$real" && [ "$owned" = "$mode $owner $group" ]; }
}

unchanged() { # the files are in place, and the process was started by a transaction that put the same in place
  [ -s "$folder/files" ] && each is_installed || return 1
  process=$(identity)
  for other in "$base"/*/process; do
    other=${other%/process}
    if is_now confirmed "${other##*/}" && [ "$process" = "$(cat "$other/process")" ] &&
      [ "$(cut -d ' ' -f 1-4,6- "$other/files")" = "$(cut -d ' ' -f 1-4,6- "$folder/files")" ]; then
      return 0
    fi
  done
  return 1
}

back_up() { [ "$sha" = absent ] || cp -p "$real" "$folder/old.$index"; }

sync_backups() {
  for old in "$folder"/old.*; do
    set -- "$@" "$old"
  done
  [ ! -e "$1" ] || complaint=$(sync "$@" "$folder" 2>&1)
}

stage() { # beside its target, so that the rename stays on one file system
  [ "$new" != absent ] || return 0
  { [ -d "${real%/*}" ] || mkdir -p "${real%/*}"; } &&
    cp "$folder/new.$index" "$beside" &&
    chmod "$mode" "$beside" &&
    chown "$owner:$group" "$beside" &&
    sync "$beside"
}

unstage() { rm -f "$beside"; }

install_file() { if [ "$new" = absent ]; then rm -f "$real"; else mv -f "$beside" "$real"; fi; }

sync_place() { [ ! -d "${real%/*}" ] || sync "${real%/*}"; }

# --- check: what systemd and the program itself say of the new files, before they are in place ----------------

check() { # what cannot be checked on this node passes
  has_unit=''
  mkdir -p "$folder/check" && each copy_for_check && check_unit && check_config
}

copy_for_check() { # systemd looks for drop-ins beside a unit, so its part of the tree is kept
  copy=$folder/check/config.$index
  case $path in */systemd/system/*) has_unit=yes copy=$folder/check/${path##*/systemd/system/} ;; esac
  [ "$new" != absent ] || return 0
  { [ -d "${copy%/*}" ] || mkdir -p "${copy%/*}"; } && cp "$folder/new.$index" "$copy"
}

check_unit() {
  [ -n "$has_unit" ] && command -v systemd-analyze >/dev/null || return 0
  fragment=$(systemctl show -p FragmentPath "$service.service")
  fragment=${fragment#FragmentPath=}
  [ -e "$folder/check/$service.service" ] || cp "$root$fragment" "$folder/check/$service.service"
  complaint="systemd-analyze verify refuses the new unit: $(
    systemd-analyze --man=no verify "${folder#"$root"}/check/$service.service" 2>&1
  )" && return 0
  # What it does not like in the unit that runs either is no reason.
  ! systemd-analyze --man=no verify "$fragment" >/dev/null 2>&1
}

check_config() { # kube-proxy and kube-scheduler read their file, say what is wrong with it, and end
  [ -s "$folder/argv" ] || return 0
  set -- --write-config-to="${folder#"$root"}/check/written"
  program=''
  while IFS= read -r word; do
    if [ -n "$program" ]; then set -- "$@" "$(checked "$word")"; else program=$word; fi
  done <"$folder/argv"
  case $program in /*) program=$root$program ;; esac
  status=0
  complaint=$(timeout 20 "$program" "$@" 2>&1) || status=$?
  case $status:$complaint in
  # 124: it took too long. A scheduler wants its ports first; a release may lack the flag. None is a refusal.
  0:* | 124:* | *'address already in use'* | *'unknown flag: --write-config-to'*) return 0 ;;
  esac
  complaint="$service refuses the new configuration: $complaint"
  return 1
}

checked() { # WORD of the command line, with the copy's path for that of a file that is to be replaced
  word=$1
  while IFS=' ' read -r index _ _ _ _ _ path; do
    case $1 in "$path" | --config="$path") word=${1%"$path"}${folder#"$root"}/check/config.$index ;; esac
  done <"$folder/files"
  printf '%s\n' "$word"
}

# --- the service ----------------------------------------------------------------------------------------------

look() { # sets pid, active, sub and restarts
  pid=0 active='' sub='' restarts=''
  while IFS='=' read -r name value; do
    case $name in
    MainPID) pid=$value ;;
    ActiveState) active=$value ;;
    SubState) sub=$value ;;
    NRestarts) restarts=$value ;;
    esac
  done <<SHOWN
$(systemctl show -p MainPID -p ActiveState -p SubState -p NRestarts "$service.service")
SHOWN
}

restart() {
  systemctl daemon-reload
  systemctl reset-failed "$service.service" >/dev/null 2>&1 # or its own start limit may keep it down
  look
  old=$pid
  systemctl restart "$service.service" &
  [ "$service" != kube-apiserver ] || hasten
  wait $!
}

hasten() { # A kube-apiserver that is told to stop listens no more, but stays for up to a minute while watches are
  # open: long enough for controller manager and scheduler to lose their leases and exit. A second SIGTERM ends it
  # at once (k8s.io/apiserver/pkg/server/signal.go).
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
  ln "$folder/settings" "$base/lock" 2>/dev/null && sync "$base" && return 0
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
  # Its transaction is over: it is no lock. Whoever moves it away may try once more.
  mv "$base/lock" "$folder/broken" 2>/dev/null && whose "$folder/broken" && [ "$holding" != "$other" ] &&
    ln "$folder/broken" "$base/lock" # somebody else's, taken in between
  ln "$folder/settings" "$base/lock" 2>/dev/null && sync "$base" && return 0
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

release() {
  if has_lock "$run"; then rm -f "$base/lock"; fi
}

prune() { # folders of long ago, and what a session left that was cut off before the work began
  for other in "$base"/.incoming.*; do
    in_session "${other##*.}" || rm -rf "$other"
  done
  count=0
  # Names of runs have no blanks: see known.
  for other in $(cd "$base" && ls -1t); do
    # One without a state is not of this script; an open one holds the lock, which is this run's.
    if [ -e "$base/$other/state" ] && [ "$other" != "$run" ]; then
      count=$((count + 1))
      if [ "$count" -ge "$kept" ] || { is_now begun "$other" && is_left "$other"; }; then rm -rf "${base:?}/$other"; fi
    fi
  done
}

is_left() { # RUN: nothing works on it, and nobody is about to start its work
  session=''
  { read -r session <"$base/$1/session"; } 2>/dev/null
  ! in_session "$session" && ! busied "$1"
}

in_session() { # PROCESS: whether it is a session of this script
  # By its command line: one that was killed, but not yet waited for, still has its number, as may a stranger.
  grep -qs kubeharden-payload "/proc/$1/cmdline"
}

# --- armed: what puts it back whatever happens ----------------------------------------------------------------

arm() {
  complaint=$(write_keeper 2>&1) || return 1
  start_timer "$deadline" || return 1
  alive "kubeharden-$run-revert.timer"
}

write_keeper() {
  mkdir -p "$wants" && cat >"$units/$keeper.new" <<UNIT || return 1
# Of kubeharden. It is here while a change to $service waits to be confirmed, and goes with it.
[Unit]
Description=kubeharden: after a reboot, puts back the files of $service that nobody had confirmed
Before=$service.service
RequiresMountsFor=/var/lib/kubeharden

[Service]
Type=oneshot
ExecStart=/bin/sh ${folder#"$root"}/transaction.sh boot $run

[Install]
WantedBy=multi-user.target
UNIT
  chmod 644 "$units/$keeper.new" && sync "$units/$keeper.new" && mv -f "$units/$keeper.new" "$units/$keeper" &&
    ln -sf "../$keeper" "$wants/$keeper" && sync "$units" "$wants"
}

start_timer() { # SECONDS
  # systemd before 227 lacks the option, and is up to a minute late.
  run_timer "$1" --timer-property=AccuracySec=100ms || run_timer "$1"
}

run_timer() { # SECONDS [OPTION]: again and again until it is over, should somebody kill it while it works
  later=$1
  shift
  complaint=$(systemd-run --unit="kubeharden-$run-revert" --on-active="${later}s" --on-unit-inactive=5s "$@" \
    /bin/sh "${folder#"$root"}/transaction.sh" revert "$run" 2>&1)
}

disarm() {
  for place in "$units/$keeper.new" "$units/$keeper"; do
    if [ -e "$place" ] && grep -q " boot $run\$" "$place"; then # and not another transaction's
      rm -f "$wants/$keeper" "$place" && sync "$units" "$wants"
    fi
  done
  systemctl stop "kubeharden-$run-revert.timer" 2>/dev/null
  systemctl reset-failed "kubeharden-$run.service" "kubeharden-$run-revert.service" 2>/dev/null
}

clean() { # what only an open transaction needs; the backups stay
  rm -rf "$folder"/new.* "$folder"/real.* "$folder/check" "$folder/complaint" "$folder/broken" "$folder/argv"
}

# --- the verdict ----------------------------------------------------------------------------------------------

give_verdict() { # WORD: whether this is the verdict, given now or before
  echo "$1" >"$folder/verdict.$$" && sync "$folder/verdict.$$"
  ln "$folder/verdict.$$" "$folder/verdict" 2>/dev/null && sync "$folder"
  rm -f "$folder/verdict.$$"
  is_verdict "$1"
}

is_verdict() { # WORD
  verdict=''
  { read -r verdict <"$folder/verdict"; } 2>/dev/null
  [ "$verdict" = "$1" ]
}

confirm() {
  recall
  if [ "$now" = waiting ]; then
    if [ "$(identity)" != "$(cat "$folder/process")" ]; then
      start_revert "$service was restarted since it was proved"
      follow_revert
    fi
    give_verdict confirm && keep_it
    follow_revert # the node was quicker
  fi
  [ "$now" != confirmed ] || answer confirmed "$(cat "$folder/words")"
  is_over "$now" || follow_revert
  answer "$now" "$(cat "$folder/words")"
}

keep_it() {
  enter confirmed
  [ "$verb" = confirm ] || finish
  (finish)
  answer confirmed "$(cat "$folder/words")"
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
      answer "$now" "$(cat "$folder/words")"
    fi
    [ "$now" != stuck ] || answer failed "$(cat "$folder/words")"
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
  why=$(cat "$folder/why" 2>/dev/null) || why="nobody confirmed it within $deadline s"
  case $now in
  begun | arming | armed) conclude reverted "$why; $after, and $service was not restarted" ;;
  esac
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
  : >"$folder/lost"
  each put_back reversed
  if [ -s "$folder/lost" ]; then
    note words "THESE FILES COULD NOT BE PUT BACK: $(cat "$folder/lost")(their old content is in ${folder#"$root"}). \
Mend that, then, on the node: sudo sh ${folder#"$root"}/transaction.sh undo $run"
    enter stuck words
    echo "kubeharden: $run: $service: $(cat "$folder/words")"
    exit 0
  fi
  after='the files are as before'
  [ ! -s "$folder/found" ] || after="$after (somebody had changed $(cat "$folder/found")meanwhile: see ${folder#"$root"})"
}

put_back() { # goes on over a file that cannot be put back: the others still can
  unstage
  if [ "$sha" = absent ]; then
    save_a_third && rm -f "$real"
  elif ! is_fresh || ! is_as_backed_up; then
    save_a_third && cp -p "$folder/old.$index" "$beside" && sync "$beside" && mv -f "$beside" "$real"
  fi
  sync_place
  is_fresh || printf '%s ' "$path" >>"$folder/lost"
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
  if [ -z "$run" ]; then
    while IFS= read -r line && [ "$line" != kubeharden-payload ]; do :; done
    read -r line && run=${line#run }
  fi
  folder=$base/$run
  if ! known "$run" || [ ! -e "$folder/state" ]; then answer failed "this node knows no run '$run'"; fi
  load "$run"
  "$verb"
  ;;
esac
