# shellcheck shell=dash
# What the units of a transaction run: the work, putting back, and what comes after a reboot. See transaction.sh.

kept=20 # folders of transactions, with their backups

# --- kubeharden-apply@RUN -------------------------------------------------------------------------------------

reason=''

work() { # ends well once it waits to be confirmed or is over; else the unit fails, and systemd starts what puts back
  is_now begun || return 0
  command -v flock >/dev/null || {
    conclude failed "$no_flock; nothing was changed"
    return
  }
  take_lock || {
    conclude busy "$busy"
    return
  }
  : >"$folder/held"
  trap 'exit 1' TERM # by itself, it is no failure to be stopped by a person; and before it is armed, there is no timer
  prune
  if prepare && arm && change; then
    watch & # with the lock; without the trap: whoever confirms it stops this
    return
  fi
  is_ended
}

prepare() { # all that can be done before anything is changed; where it fails, it is over
  compare
  if [ -n "$same" ] && was_started_with_these; then
    conclude unchanged "the files are as they should be, and $service runs with them"
  elif [ -n "$stale" ]; then
    conclude stale "$stale has changed since it was read; nothing was changed"
  elif ! each back_up; then
    give_up "cannot back up to ${folder#"$root"}: $complaint"
  elif ! each stage; then
    give_up "cannot write $complaint"
  elif ! check_unit || ! check_config; then
    give_up "$complaint"
  elif ! take_room; then
    give_up "there is not the room below ${base#"$root"} to write down what becomes of it"
  else
    return 0
  fi
  return 1
}

take_room() { # 64 kB for words that would find no other
  printf '%65536s' '' 2>/dev/null >"$folder/room"
}

change() { # and restart the service, until it waits to be confirmed
  local places=''
  look
  note running "$pid"
  if ! each install_file; then
    fail "cannot replace $complaint"
  elif ! say restarting || ! each add_parent || ! sync_places "$folder/state"; then
    fail "cannot write below ${base#"$root"}: $complaint"
  elif ! { note restarted "$(date -u +%Y-%m-%dT%H:%M:%SZ)" && restart "$pid"; }; then
    note journal "$(journal_since_restart)"
    fail "$service did not come up"
  elif ! { note process "$identity" && note words "$service runs as process $pid" &&
    enter waiting "$folder/restarted" "$folder/process" "$folder/words"; }; then
    fail "cannot write below ${base#"$root"}"
  else
    return 0
  fi
  return 1
}

journal_since_restart() { # of the service, but for its old process: what that says is of its old configuration
  local since='' before='' lines='' stop='systemd[1]: Stopping '
  get since "$folder/restarted"
  get before "$folder/running"
  since=${since%Z}
  # journald may be behind a process that has just ended (of systemd 252, measured: in 4 of 60 cases; after this, in none
  # of 420). It waits until all that was queued is written, up to 257 until journald has nothing else to do.
  timeout 5 journalctl --sync 2>/dev/null 9>&- || : # without the lock: see check_config
  # With --since, -n of systemd 252 takes the first lines, not the last.
  lines=$(journalctl -q --no-pager -o short -u "$service.service" --since "${since%T*} ${since#*T} UTC" | tail -n 80)
  case $lines in *"$stop"*) lines=${lines#*"$stop"} lines=${lines#*"$newline"} ;; esac # what came earlier in its second
  printf '%s\n' "$lines" |
    sed "/^[^:]*:[^ ]* [^ ]* [^ ]*\[$before\]: /d; s/^[^:]*:[^ ]* [^ ]* [^ ]*: //"
}

watch() { # until the deadline, or whoever confirms it, ends this
  local proved="$identity"
  while sleep 2; do
    look
    [ "$identity" = "$proved" ] || break
  done
  fail "$service did not stay up while this waited to be confirmed"
  is_ended
}

give_up() { # WHY: before anything was renamed
  each unstage
  conclude failed "$1; nothing was changed"
}

fail() { # WHY
  reason=$1 # should there be no room to write it
  note why "$1"
  put_back_and_conclude
}

# --- one at a time --------------------------------------------------------------------------------------------

take_lock() { # or say in "busy" who has it
  local other others locked=''
  busy='another transaction has just begun on this node'
  within 2 lock_or_see
  if [ -n "$locked" ]; then
    others=$(open_ones)
    [ -n "$others" ] || return 0
    for other in $others; do
      end_the_dead "$other"
    done
    if try_lock && [ -z "$(open_ones)" ]; then return 0; fi
    unlock
  fi
  for other in $(open_ones); do
    busy=$(load "$other" && recall && report && { [ "$now" != stuck ] || show "$folder/words"; })
  done
  return 1
}

lock_or_see() { # who has it: a session that looks whether it is free has it for a moment, and no transaction is open then
  if try_lock; then locked=yes; else [ -n "$(open_ones)" ]; fi
}

open_ones() { each_run print_open; } # the other transactions that are open; names have no blanks

print_open() { [ "$run" = "$mine" ] || ! is_open || printf '%s\n' "$run"; }

end_the_dead() { # RUN: it is at work no more, or it would have the lock
  unlock
  (load "$1" && recall && start_revert 'its work was cut off' timeout 60)
}

prune() { # folders of long ago, and what a session left that was cut off before the work began
  local place count=0
  for place in "$base"/.incoming.*; do
    [ ! -e "$place" ] || in_session "${place##*.}" || rm -rf "$place"
  done
  each_run prune_left
  [ "$count" -gt "$kept" ] || return 0
  count=0
  for place in $(cd "$base" && ls -1t -- */state); do # names of runs have no blanks
    [ "$place" != "$run/state" ] || continue # not by its age: the ls of busybox counts in seconds
    count=$((count + 1))
    [ "$count" -lt "$kept" ] || rm -rf "${base:?}/${place%/state}"
  done
}

prune_left() {
  count=$((count + 1))
  # Before the state was on disk, there may have been a power cut.
  case $now in
  '' | begun | busy | stale | unchanged) [ "$run" = "$mine" ] || ! is_left || rm -rf "$folder" ;;
  *) ;;
  esac
}

# --- forth ----------------------------------------------------------------------------------------------------

compare() { # with what there is now: sets "same" where all is in place, and "stale" to a file that somebody changed
  same=yes stale=''
  [ -s "$folder/files" ] || same=''
  each_seen compare_file
}

compare_file() {
  see
  [ "$sum" = "$sha" ] || stale=${stale:-$path}
  [ "$sum" = "$new" ] || same=''
  [ -z "$same" ] || [ "$new" = absent ] || [ "$(owners "$real")" = "$mode $owner $group" ] || same=''
}

was_started_with_these() { # the process, by a transaction that put the same in place
  local found='' wanted
  wanted=$(outcome)
  look
  each_run compare_run
  [ -n "$found" ]
}

compare_run() {
  local process
  get process "$folder/process"
  [ "$process" != "$identity" ] || [ "$now" != confirmed ] || [ "$(outcome)" != "$wanted" ] || found=yes
}

outcome() { # prints what the files are afterwards, whatever they were before
  local index mode owner group new path
  while IFS=' ' read -r index mode owner group _ new path; do
    printf '%s\n' "$index $mode $owner $group $new $path"
  done <"$folder/files"
}

back_up() { [ "$sha" = absent ] || copy "$real" "$folder/old.$index"; }

stage() { # beside its target, so that the rename stays on one file system
  may_be_replaced || return 1
  [ "$new" != absent ] || return 0
  if [ -f "$real" ]; then
    # New content for a copy, on which all that hangs on the old file hangs too.
    copy "$real" "$beside" && cat "$folder/new.$index" >"$beside" && chown "$owner:$group" "$beside" &&
      chmod "$mode" "$beside"
  else
    { [ -d "${real%/*}" ] || mkdir -p "${real%/*}"; } &&
      install -m "$mode" -o "$owner" -g "$group" "$folder/new.$index" "$beside"
  fi
}

may_be_replaced() { # or says what of it forbids that: it would be found once the first file is exchanged
  local attributes='' place="${real#"$root"}"
  [ ! -e "$real" ] || attributes=$(lsattr -d "$real" 2>/dev/null)
  case ${attributes%% *} in
  *[ia]*) echo "it is immutable or append-only: take that off first (chattr -i -a $place)" >&2 ;;
  *)
    is_mounted "$place" || return 0
    echo "something is mounted there, which nothing can take the place of: umount $place" >&2
    ;;
  esac
  return 1
}

is_mounted() { # PATH: by itself, as containers and some images have single files
  local place
  while read -r _ _ _ _ place _; do
    [ "$place" != "$1" ] || return 0
  done <"$root/proc/self/mountinfo"
  return 1
} 2>/dev/null

install_file() { if [ "$new" = absent ]; then rm -f "$real"; else mv -f "$beside" "$real"; fi; }

enter_armed() { # with what is staged, and what it takes to put everything back, on disk before anything is put in place
  local places=''
  say armed && each add_kept && sync_places "$folder/settings" "$folder/files" "$folder/reversed" "$folder/boot" \
    "$folder/held" "$folder/state" "$folder" "$base"
}

add_kept() {
  local place
  for place in "$beside" "$folder/old.$index" "$folder/real.$index"; do
    [ ! -e "$place" ] || places="$places$place$newline"
  done
}

add_parent() { [ ! -d "${real%/*}" ] || places="$places${real%/*}$newline"; }

sync_places() { complaint=$(with_places sync "$@" 2>&1); } # PATH...: and those in "places"

arm() { # what puts it back whatever happens: the unit that a reboot starts is there already
  if ! say arming || ! complaint=$(start_timer 2>&1); then
    give_up "cannot arm the timer that would put it back: $complaint"
  elif ! enter_armed; then
    give_up "cannot write what is to be put in place: $complaint"
  else
    return 0
  fi
  return 1
}

start_timer() {
  # systemd before 227 does not know the property, and is up to a minute late.
  run_timer --timer-property=AccuracySec=100ms || run_timer
}

run_timer() { # [OPTION]
  systemd-run --unit="kubeharden-revert@$run.service" --on-active="${deadline}s" "$@"
}

# --- check: what systemd and the program itself say of the new files, before they are in place; what cannot be checked
# on this node passes -------------------------------------------------------------------------------------------

check_unit() {
  local place="$folder/check/$service.service" fragment=''
  [ -d "$folder/check" ] && command -v systemd-analyze >/dev/null || return 0
  if [ ! -e "$place" ]; then
    fragment=$(fragment)
    cp "$root$fragment" "$place"
  fi
  complaint="systemd-analyze verify refuses the new unit: $(
    systemd-analyze --man=no verify "${place#"$root"}" 2>&1
  )" && return 0
  # What it does not like in the unit that runs either is not a reason.
  ! systemd-analyze --man=no verify "${fragment:-$(fragment)}" >/dev/null 2>&1
}

fragment() {
  local show path=''
  show=$(systemctl show -p FragmentPath "$service.service")
  property path FragmentPath
  printf '%s\n' "$path"
}

check_config() { # the program reads its file, says what is wrong with it, and ends
  local flag program word status=0
  [ -s "$folder/argv" ] || return 0
  set --
  {
    IFS= read -r flag
    IFS= read -r program
    while IFS= read -r word; do set -- "$@" "$word"; done
  } <"$folder/argv"
  case $program in /*) program=$root$program ;; *) ;; esac
  command -v "$program" >/dev/null || return 0 # a name that only systemd finds
  set -- "$program" "$@"
  # In a network of its own, where the kernel has that: there, the service that runs has none of the ports.
  ! unshare -n true 2>/dev/null || set -- unshare -n "$@"
  # Without the lock, which "timeout" of busybox would hold a while longer.
  complaint=$(timeout 20 "$@" 2>&1 9>&-) || status=$?
  case $status:$complaint in
  # 124: it took too long. A scheduler wants its ports first; a release may lack the flag. None is a refusal.
  0:* | 124:* | *'address already in use'* | *"unknown flag: $flag"*) return 0 ;;
  *) ;;
  esac
  complaint="$service refuses the new configuration: $complaint"
  return 1
}

# --- kubeharden-revert@RUN ------------------------------------------------------------------------------------

revert() { # ends well once it is over; else systemd starts it again
  recall
  if is_over; then
    finish
    return
  fi
  [ -e "$folder/why" ] || ! systemctl --quiet is-failed "kubeharden-apply@$run.service" >/dev/null ||
    note why 'its work was cut off'
  # It must not go on beside this; where it puts back already, it is waited for.
  [ "$now" = reverting ] || systemctl stop "kubeharden-apply@$run.service" 2>/dev/null
  until try_lock; do
    sleep 0.2
    recall
    ! is_over || return 0 # whoever has the lock ended it
  done
  recall # it may have come further until it was stopped
  if is_over; then finish; else put_back_and_conclude; fi
  systemctl reset-failed "kubeharden-apply@$run.service" 2>/dev/null
  is_ended
}

# --- kubeharden-boot ------------------------------------------------------------------------------------------

boot() { # the services start after this
  local waiting=''
  each_run add_waiting
  # shellcheck disable=SC2086
  [ -z "$waiting" ] || until systemctl start $waiting; do sleep 1; done
}

add_waiting() {
  is_open || [ "$now" = begun ] || return 0
  [ "$now" != stuck ] || say reverting # somebody may have mended it
  waiting="$waiting kubeharden-revert@$run.service"
}
