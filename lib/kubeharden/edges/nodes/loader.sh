# Reads the scripts of a session from standard input and runs them. It is the command that SSH carries, and all that has
# a limit in size there: a server need not take more than 32 kB at once (RFC 4253, 6.1).
#
#   sh -c LOADER kubeharden-session [greet]
#
# The login shell of the node reads it first, which may be csh, tcsh or fish: they end a quoted word at the end of its
# line, and csh looks for "!" in quotes too. nodes/session.py puts the lines below in one, with a semicolon where one
# ends a command; single quotes and exclamation marks have no place here.
#
# Told to greet, it says "ready" first: until then, sudo would take what it is sent for another try at the password.
# The scripts come after a line "kubeharden scripts SIZE". Lines before it are not ours: sudo's password, where sudo did
# not ask for it.
#
# take SIZE: that many bytes of standard input and not one more; "head" may read ahead
take() {
  dd bs="$1" count=1 iflag=fullblock 2>/dev/null
}

[ $# = 0 ] || echo ready
size=0
while read -r word name size; do
  [ "$word:$name" = kubeharden:scripts ] && break
done
scripts=$(take "$size")
[ "${#scripts}" = "$size" ] || {
  echo "the scripts did not arrive whole" >&2
  exit 1
}
eval "$scripts"
