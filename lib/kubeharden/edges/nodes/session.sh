# Answers requests for the scripts beside it over one SSH session, one after the other, until its input ends: so a node
# is logged in to, sudo is asked and the scripts are read once, however often they are needed. loader.sh runs it, after
# common.sh and the functions "observe" and "transaction" (nodes/session.py puts them together).
#
# A request is a line "kubeharden MARK NAME SIZE ARGUMENT...", then SIZE bytes, which are the input of the script of that
# name. The answer is what the script prints, as it is, then a newline and "MARK STATUS", then what it complained of on
# its standard error, then a line "MARK end". MARK is of this one request, and thus in no answer. All words of a request
# are constants of the controller but MARK and the name of a run, which is of harmless letters.
exec 3>&1

check() { :; }

answer_to() { # NAME SIZE ARGUMENT...: to the output that is fd 3; its complaints to its own
  script=$1 size=$2
  shift 2
  if [ "$size" = 0 ]; then "$script" "$@" </dev/null 2>&1 >&3; else take "$size" | "$script" "$@" 2>&1 >&3; fi
}

while read -r word mark name size arguments; do
  # Anything else is not ours.
  case $word:$name in kubeharden:check | kubeharden:observe | kubeharden:transaction) ;; *) continue ;; esac
  # The arguments are words without blanks.
  # shellcheck disable=SC2086
  complaints=$(answer_to "$name" "$size" $arguments)
  status=$?
  printf '\n%s %s\n%s\n%s end\n' "$mark" "$status" "$complaints" "$mark"
done
