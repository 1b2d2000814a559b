# shellcheck shell=dash
# What the controller calls of a transaction over SSH, and a person on the node. See transaction.sh.
#
# Prints "@result WORD TIME", then words, and what the service wrote to its journal. TIME is when the service was restarted
# (RFC 3339, UTC, this node's clock). WORD:
#
#   waiting    it runs with the new files; confirm it
#   stale      a file is no longer what the plan was made against; nothing was changed
#   busy       another transaction has the node; nothing was changed. The words are what "report" says of it
#   unchanged  the files were as they should be, and the process that runs was started with them
#   failed     nothing was changed, or something could not be put back: the words say which
#   reverted   it was changed and is as it was before
#   confirmed  the change stays

answer() { # WORD [MESSAGE]: or what the transaction says of itself
  local restarted
  get restarted "$folder/restarted"
  printf '@result %s %s\n' "$1" "$restarted"
  if [ $# -gt 1 ]; then
    printf '%s\n' "$2"
  else
    show "$folder/words"
    [ ! -s "$folder/journal" ] || echo 'Its journal says:'
    show "$folder/journal"
  fi
}

give_account() { # what has become of it
  case $now in
  '') answer failed "this node knows no run $run any more" ;;
  stuck) answer failed ;;
  *) answer "$now" ;;
  esac
}

# --- begin: takes the archive, starts the work, follows it ----------------------------------------------------

begin() {
  local complaint=''
  folder=$base/.incoming.$$
  if ! receive || ! move_in || { is_new && ! { install_units && start_work; }; }; then
    rm -rf "$folder"
    answer failed "$complaint; nothing was changed"
    return
  fi
  follow waiting
  give_account
  # Nothing was changed, so nothing need be kept.
  case $now in stale | busy | unchanged) rm -rf "$folder" ;; *) ;; esac
}

receive() { # the archive, as a folder that nobody else looks at
  local said boot
  complaint="cannot write below ${base#"$root"}"
  [ ! -e "$folder" ] || rm -rf "$folder" # this session was cut off in here before
  mkdir -p "$folder" || return 1
  said=$(tar -xmof - -C "$folder" 2>&1 && [ -s "$folder/digests" ] && cd "$folder" && sha256sum -c digests 2>&1) || {
    complaint="what was sent did not arrive whole, or cannot be written below ${base#"$root"}: $said"
    return 1
  }
  load "${folder##*/}"
  known "$named" || {
    complaint="a run cannot be called '$named'"
    return 1
  }
  get boot "$root/proc/sys/kernel/random/boot_id"
  note boot "$boot" && note session $$ && each note_real || return 1
  complaint="cannot write below ${base#"$root"}"
  note state begun
}

note_real() { # where a link leads, stays what it is now
  [ ! -h "$real" ] || readlink -f "$real" >"$folder/real.$index" || printf '%s\n' "$real" >"$folder/real.$index"
}

move_in() { # to where it belongs, whole; unless it is there, and the answer to that was lost
  local sent="$folder"
  load "$named"
  recall
  case $now in
  '' | reverted | failed) ;;
  *)
    rm -rf "$sent"
    return 0
    ;;
  esac
  if make_way && mv "$sent" "$folder"; then
    load "$run"
    return
  fi
  folder=$sent
  return 1
}

make_way() { # for another attempt
  [ ! -e "$folder" ] || if [ -n "$now" ]; then mv "$folder" "$folder.$(date +%s)"; else rm -rf "$folder"; fi
}

is_new() { is_now begun && [ ! -e "$folder/held" ]; } # else it is at work, is put back, or is over

install_units() { # what the units need, where it is not there yet or is another version's
  local boot=kubeharden-boot.service
  (cd "$root/" && sha256sum -c "$folder/installed") >/dev/null 2>&1 && [ -h "$wants/$boot" ] && return 0
  complaint="cannot install its units: $(
    exec 2>&1
    { [ -d "$wants" ] || mkdir -p "$wants"; } && install -m 644 "$folder"/node/*.service "$units" &&
      ln -sf "../$boot" "$wants/$boot" &&
      # On disk before it takes the place of one that may be needed.
      { [ ! -e "$base/transaction.sh" ] || sync "$folder/node/transaction.sh"; } &&
      mv -f "$folder/node/transaction.sh" "$base/transaction.sh" &&
      sync "$base/transaction.sh" "$base" "$units"/kubeharden-*.service "$units" "$wants" && systemctl daemon-reload
  )"
}

start_work() { # until it waits or is over; where it fails, until it is put back; what has begun is never given up here
  complaint=$(systemctl start "kubeharden-apply@$run.service" 2>&1) ||
    systemctl start "kubeharden-revert@$run.service" 2>/dev/null || ! is_new || {
    complaint="systemd does not start the work: $complaint"
    return 1
  }
}

follow() { # [STATE]: until it is over or stuck or in that state, and its work is gone; what is cut off is put back
  while :; do
    recall
    case $now in '' | stuck | "${1:-stuck}") return ;; *) ;; esac
    if is_at_work; then
      sleep 0.2
    elif is_over; then
      return
    else
      systemctl start "kubeharden-revert@$run.service"
    fi
  done
}

# --- the verdict ----------------------------------------------------------------------------------------------

confirm() {
  local process
  if is_now waiting; then
    systemctl stop "kubeharden-apply@$run.service" # it watches, and has the lock
    if within 2 try_lock && is_now waiting; then
      look
      get process "$folder/process"
      if [ "$identity" = "$process" ]; then
        enter confirmed || return # the timer puts it back
        finish
      else
        unlock
        start_revert "$service was restarted since it was proved"
      fi
    fi
    unlock # where it was not waiting any more: who puts it back is not kept from it
  fi
  is_over || follow
  give_account
}

undo() {
  recall
  is_over || start_revert 'it was undone'
  follow
  give_account
}

# --- what this node knows -------------------------------------------------------------------------------------

state() { # a run asks for it before all else, so it is here that a node is refused which could change nothing
  command -v flock >/dev/null || {
    echo "$no_flock" >&2
    return 1
  }
  each_run report
  printf '@end\n'
}

report() { # one transaction, as nodes/transaction.py reads it
  local open=closed since=-
  load "$run"
  is_free || open=open since=$(began)
  printf '@transaction %s %s %s %s %s %s %s\n' "$run" "$open" "$now" "$service" "$since" "${deadline:--}" "$holder"
}

is_free() { is_over || { ! is_open && is_left; }; } # or its work never began and never will

old() { # <SHA, in the line after the run's
  local sha found place
  read -r sha
  printf '@old\n'
  sha256sum "$folder"/old.* 2>/dev/null | while read -r found place; do
    if [ "$found" = "$sha" ]; then
      base64 <"$place"
      break
    fi
  done
  printf '@end\n'
}

clean() { # prints what it removed; the lock goes with the next reboot
  local place said removed=''
  run='' folder=$base
  if ! take_lock; then
    answer busy "$busy"
    return
  fi
  for place in "$wants/kubeharden-boot.service" "$units"/kubeharden-*.service "$base"; do
    [ -e "$place" ] || [ -h "$place" ] || continue
    said=$(rm -rf "$place" 2>&1) || {
      answer failed "cannot remove ${place#"$root"}: $said"
      return
    }
    removed="$removed${place#"$root"}$newline"
  done
  systemctl daemon-reload
  printf '@removed\n%s@end\n' "$removed"
}
