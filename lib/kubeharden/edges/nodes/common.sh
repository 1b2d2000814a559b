# shellcheck shell=dash
# What the scripts of a node share.
#
# On a node with work to do, programs are what takes time: what the shell can do itself, it does. Not one of the scripts
# has a here-document: bash before 5.1 writes them to /tmp, which may be full. KUBEHARDEN_ROOT is set on rehearsal nodes
# only: their file tree lives below it.
set -u
LC_ALL=C
export LC_ALL
root=${KUBEHARDEN_ROOT:-}
newline='
'

get() { # NAME FILE: sets that variable to the first line of a file; to nothing where there is none
  eval "$1=''"
  { IFS= read -r "$1" <"$2"; } 2>/dev/null || :
}

take_line() { # sets "line" to the first one of "rest", and takes it out there; fails where there is none
  [ -n "$rest" ] || return 1
  line=${rest%%"$newline"*}
  rest=${rest#"$line"}
  rest=${rest#"$newline"}
}

property() { # NAME KEY: sets that variable to a property in "show", what systemd says; to nothing where it is not there
  local found="$newline$show"
  case $found in *"$newline$2="*) found=${found#*"$newline$2="} ;; *) found='' ;; esac
  eval "$1=\${found%%\"\$newline\"*}"
}
