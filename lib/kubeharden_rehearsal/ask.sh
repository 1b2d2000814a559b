# shellcheck shell=dash disable=SC2154
# What the commands of a rehearsal node do: they ask the rehearsal's server over named pipes and do what it answers. A
# script starts hundreds of these, and a shell starts in a tenth of the time of Python.
#
# The command sets: name; node; state, the server's folder; server, its process.
#
# There is a pipe for each of some callers, N, which the server keeps open: so it can be opened before anything is asked,
# and ends with the server. N.taken says whose it is. The answer is a script that ends with "exit" or "exec".

# The host's own do these first, without the node's own programs of their names.
case $name in
cp) PATH=${PATH#*:} cp "$@" || exit ;;
install)
  (
    left=$#
    while [ "$left" -gt 0 ]; do
      # The owners exist on the node only.
      case $1 in
      -o | -g) shift && left=$((left - 1)) ;;
      *) set -- "$@" "$1" ;;
      esac
      shift
      left=$((left - 1))
    done
    PATH=${PATH#*:}
    exec install "$@"
  ) || exit
  ;;
*) ;;
esac

end() {
  echo "the rehearsal has ended" >&2
  exit 1
}

kill -0 "$server" 2>/dev/null || end
slot=0
set -C
until { echo $$ >"$state/pipes/$slot.taken"; } 2>/dev/null; do
  slot=$((slot + 1))
  [ ! -e "$state/pipes/$slot" ] || continue
  # All are in use. Those who were killed before they asked may have some of them.
  kill -0 "$server" 2>/dev/null || end
  printf '0\000' 1<>"$state/pipes/requests"
  sleep 0.05
  slot=0
done
set +C
exec 3<"$state/pipes/$slot"
set -- "$node" "${USER:-ops}" "$PWD" "$name" "$@"
words=$*
# What goes into one write has at most PIPE_BUF bytes (4096); a character has four.
if [ "${#words}" -lt 1000 ]; then
  printf '%s\000' "$(($# + 1))" "$slot" "$@" 1<>"$state/pipes/requests"
else
  printf '%s\000' "$@" >"$state/pipes/$slot.words"
  printf '%s\000' 1 "$slot" 1<>"$state/pipes/requests"
fi
shift 4
answer=''
while IFS= read -r line <&3; do
  answer="$answer$line
"
done
exec 3<&-
eval "$answer"
end
