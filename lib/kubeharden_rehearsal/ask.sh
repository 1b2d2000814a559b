# shellcheck shell=dash disable=SC2154
# What most commands of a rehearsal node do: they ask the rehearsal's server over named pipes and do what it answers.
# A script starts hundreds of these, and a shell starts in a tenth of the time of Python. shim.py does the same over a
# socket: for sudo, where a request is too long for one write to a pipe, and where all pipes are in use.
#
# The command sets: name; node; state, the server's folder; server, its process; python, the command line of shim.py.
#
# There is a pipe for each of some callers, N, which the server keeps open: so it can be opened before anything is asked,
# and ends with the server. N.taken says whose it is. The answer is a script that ends with "exit".

# What goes into one write of at most PIPE_BUF bytes (4096), with room for the number of fields.
longest=4000
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

by_python() {
  # shellcheck disable=SC2086
  eval "exec $python"' "$name" "$@"'
}

LC_ALL=C # lengths are in bytes
words="$node ${USER:-ops} $PWD $name $*"
{ [ "${#words}" -lt "$longest" ] && kill -0 "$server"; } 2>/dev/null || by_python "$@"

slot=0
set -C
until { echo $$ >"$state/pipes/$slot.taken"; } 2>/dev/null; do
  slot=$((slot + 1))
  [ -e "$state/pipes/$slot" ] || by_python "$@"
done
set +C
exec 3<"$state/pipes/$slot"
printf '%s\000' "$(($# + 5))" "$slot" "$node" "${USER:-ops}" "$PWD" "$name" "$@" 1<>"$state/pipes/requests"
answer=''
while IFS= read -r line <&3; do
  answer="$answer$line
"
done
exec 3<&-
eval "$answer"
echo "the rehearsal has ended" >&2
exit 1
