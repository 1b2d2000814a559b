# Reads what there is to know of a node, in one go, and changes nothing.
#
#   sh -c "$(cat observe.sh)" observe WORD...
#
# Words without blanks: user=NAME is a user whose groups to say; where there is one, the version of systemd and the modes
# below /etc/kubernetes are said as well. Any other word is a service: NAME=UNIT is the unit of this name, and no other;
# NAME alone, where the unit of its own name does not run, the one in whose control group the program does, where it
# does in one alone. Behind commas is what there is to read of it:
#
#   PATH                            a file
#   PATH=FLAG                       the file that --FLAG names on its command line, or PATH
#   configz=URL                     what this URL serves
#   configz:MINOR=URL               the same, where its program is older than that release: later, others may listen there
#   certificates=FLAG:FIELD:FLAG:FOLDER:NAME:NAME
#                                   the certificates that it may show: the file that --FLAG or FIELD of its config file
#                                   names, and those two in the folder that --FLAG names, or FOLDER; never a key
#   healthz=FLAG:FLAG:PORT          its /healthz: the flags that say its address and port, and the port without one
#
# Prints "@observation MARK", then sections: a line "MARK KIND ARGUMENTS", then bytes as they are, up to a newline and
# the next MARK, which is of this one call and thus in no file. The end is "MARK end", so that an answer that was cut
# off is known as such. Only paths are read from kubeconfig files, never what they hold.
read -r mark </proc/sys/kernel/random/uuid

section() { # KIND ARGUMENTS...: what is printed from here on
  printf '\n%s %s\n' "$mark" "$*"
}

files() { # PATH...: their content with mode, owner and group, or that there is none
  local count=$# path mode owner uid group gid
  for path in "$@"; do
    if [ -f "$root$path" ]; then set -- "$@" "$root$path"; else section absent "$path"; fi
  done
  shift "$count"
  [ $# -gt 0 ] || return 0
  # By number where the system knows no name.
  stat -L -c '%a %U %u %G %g %n' "$@" | while read -r mode owner uid group gid path; do
    [ "$owner" != UNKNOWN ] || owner=$uid
    [ "$group" != UNKNOWN ] || group=$gid
    section file "$mode" "$owner" "$group" "${path#"$root"}"
    cat "$path"
  done
}

fetch() { # URL
  if command -v curl >/dev/null; then
    curl -sf --noproxy '*' --max-time 2 "$1"
  elif command -v wget >/dev/null; then
    wget -qO- -T 2 "$1"
  fi 2>/dev/null
}

status() { # URL: its HTTP status, 000 where nothing answers; nothing where there is no way to ask
  local answer
  if command -v curl >/dev/null; then
    curl -sk --noproxy '*' --max-time 5 -o /dev/null -w '%{http_code}' "$1"
  elif command -v wget >/dev/null; then
    answer=$(wget -qS --no-check-certificate -T 5 -t 1 -O /dev/null "$1" 2>&1)
    case $? in
    4) printf 000 ;; # by its manual, of the network
    *) printf '%s\n' "$answer" | sed -n 's/^ *HTTP[^ ]* \([0-9]*\).*/\1/p' ;;
    esac
  fi 2>/dev/null
}

argument() { # NAME: sets "value" to the last one of --NAME on the command line in "words"
  local wanted='' rest='' line
  value=''
  case $words in *"--$1"*) rest=$words ;; *) ;; esac
  while take_line; do
    if [ -n "$wanted" ]; then
      value=$line wanted=''
    else
      case $line in "--$1") wanted=yes ;; "--$1="*) value=${line#*=} ;; *) ;; esac
    fi
  done
}

is_older() { # WORD: whether the minor release in "said" is lower than the one behind its colon; an unknown one is not
  local minor
  minor=${said#*v1.}
  minor=${minor%%[!0-9]*}
  [ -n "$minor" ] && [ "$minor" -lt "${1#*:}" ]
}

properties() { # of systemd, in "show"
  local rest="$show" line
  loaded='' fragment='' drop_ins='' environment='' invocation=''
  property loaded LoadState
  property fragment FragmentPath
  property drop_ins DropInPaths
  property pid MainPID
  pid=${pid:-0}
  property invocation InvocationID
  while take_line; do
    case $line in EnvironmentFile=* | EnvironmentFiles=*) ;; *) continue ;; esac
    line=${line#*=}
    environment="$environment ${line% (ignore_errors=*}"
  done
}

show_all() { # WORD...: sets "shown" to what systemd says of the services, an empty line between,
  # and "pattern" to one of their names
  local each name
  pattern=hyperkube
  for each in "$@"; do
    shift
    case $each in user=*) continue ;; *) ;; esac
    each=${each%%,*}
    name=${each%%=*}
    pattern="$pattern|$name"
    set -- "$@" "${each#*=}.service"
  done
  shown=$(show_units "$@")
}

show_units() { # NAME.service...
  systemctl show -p Id,LoadState,ActiveState,SubState,Result,MainPID,NRestarts,InvocationID \
    -p FragmentPath,DropInPaths,EnvironmentFiles,User,Group,NeedDaemonReload,ExecMainStartTimestamp \
    -p ExecMainStartTimestampMonotonic "$@"
}

find_candidates() { # sets "candidates" to a line for each process outside pods that may be a component, once: the file of
  # its program, its next word, and its service or, with a slash, the control group that is none
  [ -z "${candidates+found}" ] || return 0
  candidates=''
  local place first rest line unit elsewhere
  # A path of /proc has no blank in it.
  # shellcheck disable=SC2013
  for place in $(grep -lE "$pattern" "$root"/proc/[0-9]*/cmdline 2>/dev/null); do
    unit='' elsewhere=''
    find_group "${place%/*}/cgroup"
    [ -n "$unit$elsewhere" ] || continue
    { # Not of a process that is gone.
      rest=$(tr '\0\n' '\n\001' <"$place")
    } 2>/dev/null
    line=''
    take_line
    first=${line##*/}
    line=''
    take_line
    case $first in '' | *[[:blank:]]*) continue ;; *) ;; esac
    candidates="$candidates$first ${line%%[[:blank:]]*} ${unit:-$elsewhere}$newline"
  done
}

find_units() { # NAME: sets "units" to the services in whose control groups it runs, or "elsewhere" to another group
  local first word group line rest="$candidates"
  units='' elsewhere=''
  while take_line; do
    first=${line%% *} group=${line#* }
    word=${group%% *} group=${group#* }
    is_called "$first" "$1" || case $first,$word in
    hyperkube*,"$1" | hyperkube*,"${1#kube-}") ;;
    *) continue ;;
    esac
    case $group," $units " in
    /*) elsewhere=$group ;;
    *,*" $group "*) ;;
    *) units="$units${units:+ }$group" ;;
    esac
  done
  [ -z "$units" ] || elsewhere=''
}

is_called() { # FILE NAME: whether a program of that file is the component, maybe of a site, a version or a machine
  case $1 in
  *"$2" | *"$2".* | *"$2"[0-9]* | *"$2"v[0-9]* | *"$2"[-_][0-9]* | *"$2"[-_]v[0-9]*) return 0 ;;
  *"$2"[-_]linux* | *"$2"[-_]amd64 | *"$2"[-_]arm64 | *"$2"[-_]real | *"$2"[-_]bin) return 0 ;;
  *) return 1 ;; # an exporter of its metrics, and the like
  esac
}

find_group() { # FILE of a process: sets "unit" or "elsewhere"
  local line
  while IFS= read -r line; do
    case $line in
    *:*/kubepods* | */user@*) ;;
    0::/*.service | *:name=systemd:/*.service)
      unit=${line##*/}
      unit=${unit%.service}
      return 0
      ;;
    0::/?* | *:name=systemd:/?*) elsewhere=${line##*:} ;;
    *) ;;
    esac
  done <"$1"
} 2>/dev/null

service() { # NAME[=UNIT][,WORD...], whose part of "shown" is the next; what it sets, the functions below read
  local name show elsewhere='' units='' config='' kubeconfig='' words='' configz='' healthz='' shown_at='' server=''
  local loaded fragment drop_ins environment pid invocation binary said word path value match
  IFS=,
  # shellcheck disable=SC2086
  set -- $1
  unset IFS
  name=${1%%=*}
  show=${shown%%"$newline$newline"*}
  shown=${shown#*"$newline$newline"}
  properties
  # To look for others of its kind beside it takes time, of which a plan has some.
  if [ "$pid" = 0 ] || [ -n "$whole" ]; then
    find_candidates
    find_units "$name"
  fi
  case $pid,$1,$units in
  0,*=* | 0,*,'' | 0,*,*' '*) ;;
  0,*)
    show=$(show_units "$units.service")
    properties
    ;;
  *) ;;
  esac
  shift
  [ "$pid" != 0 ] || [ -z "$elsewhere" ] || { section elsewhere "$name" && printf '%s' "$elsewhere"; }
  [ -z "$units" ] || { section units "$name" && printf '%s' "$units"; }
  section show "$name"
  printf '%s' "$show"
  [ "$loaded" = loaded ] || return 0

  binary=/usr/bin/$name
  if [ "$pid" != 0 ] && [ -r "$root/proc/$pid/cmdline" ]; then
    # One word a line; a newline within a word is \001. The dot keeps the newlines at the end.
    words=$(tr '\0\n' '\n\001' <"$root/proc/$pid/cmdline" && echo .)
    words=${words%.}
    section cmdline "$name"
    printf '%s' "$words"
    find_binary
    argument config
    config=$value
    argument kubeconfig
    kubeconfig=$value
  fi
  case $binary in /*) binary=$root$binary ;; *) ;; esac # nothing for a program of another name
  section version "$name"
  said=''
  [ -z "$binary" ] || said=$("$binary" ${server:+"$server"} --version 2>/dev/null)
  printf '%s\n' "$said"

  for word in "$@"; do
    shift
    case $word in
    configz=*) configz=${word#*=} ;;
    configz:*) ! is_older "${word%%=*}" || configz=${word#*=} ;;
    healthz=*) healthz=${word#*=} ;;
    certificates=*) shown_at=${word#*=} ;;
    *)
      path=${word%%=*}
      argument "${word#*=}"
      [ "$path" = "$config" ] || set -- "$@" "${value:-$path}"
      ;;
    esac
  done
  # systemd's lists of paths are separated by blanks.
  # shellcheck disable=SC2086
  files $fragment $drop_ins $environment ${config:+"$config"} "$@"
  credentials
  [ -z "$shown_at" ] || [ -z "$words" ] || certificates

  section warnings "$name"
  # Before systemd 232 there are no invocations to tell the runs of a service by.
  match=_PID=$pid
  [ -z "$invocation" ] || match=_SYSTEMD_INVOCATION_ID=$invocation
  # A program says it as it starts. Months later, its journal has millions of lines.
  journalctl -q --no-pager -o cat "$match" |
    sed -n '5000q;/has been deprecated\|are deprecated\|lenient decoding/Ip'
  [ -z "$configz" ] || { section configz "$name" && fetch "$configz"; }
  [ -z "$healthz" ] || [ -z "$words" ] || healthz
}

find_binary() { # of the command line in "words": sets "binary", and "server" to what hyperkube is to run
  local line child='' rest="$words"
  binary=${words%%"$newline"*}
  get line "$root/proc/$pid/comm"
  if ! is_named "$line"; then # a shell or "tini" waits for the program, and is another one
    binary=''
    { read -r child _ <"$root/proc/$pid/task/$pid/children"; } 2>/dev/null # which ends without a newline
    get line "$root/proc/$child/comm"
    [ -z "$line" ] || ! is_named "$line" || binary=/proc/$child/exe
    return 0
  fi
  while take_line; do
    case $line in
    *=*) ;;
    hyperkube* | */hyperkube*)
      binary=$line server=${rest%%"$newline"*}
      break
      ;;
    "$name" | */"$name")
      binary=$line
      break
      ;;
    *) ;;
    esac
  done
  # By a name alone, it may not be found from here.
  case $binary in
  /*) ;;
  *) [ ! -e "$root/proc/$pid/exe" ] || binary=/proc/$pid/exe ;;
  esac
}

is_named() { # COMM: whether a process of that name may be the component; one without a name may be
  case $name,$1 in
  "$1"*,* | *,*"$name"* | *,hyperkube*) return 0 ;;
  *) return 1 ;;
  esac
}

healthz() { # what the service whose command line is in "words" answers where it listens; it may listen nowhere
  local address
  argument "${healthz%%:*}"
  healthz=${healthz#*:}
  case $value in
  '' | 0.0.0.0 | ::) address=127.0.0.1 ;;
  *:*) address=[$value] ;;
  *) address=$value ;;
  esac
  argument "${healthz%:*}"
  [ "$value" = 0 ] || { section healthz "$name" && status "https://$address:${value:-${healthz#*:}}/healthz"; }
}

field() { # NAME: sets "value" to a path that the config file has there
  value=''
  [ -z "$config" ] || [ ! -f "$root$config" ] ||
    value=$(sed -n "/^ *\"\{0,1\}$1\"\{0,1\}: */{s///;s/[\"', }]//g;p;q;}" "$root$config")
}

credentials() { # the paths that its kubeconfig names, and its own
  if [ -z "$kubeconfig" ]; then
    field kubeconfig
    kubeconfig=$value
  fi
  [ -n "$kubeconfig" ] && [ -f "$root$kubeconfig" ] || return 0
  section credentials "$name"
  printf '%s\n' "$kubeconfig"
  sed -n "/^ *\(client-certificate\|client-key\|certificate-authority\|tokenFile\): */{s///;s/[\"' ]//g;p;}" \
    "$root$kubeconfig"
}

certificates() { # those that the service whose command line is in "words" may show; keys beside them stay where they are
  local named folder path
  IFS=:
  # shellcheck disable=SC2086
  set -- $shown_at
  unset IFS
  argument "$1"
  if [ -z "$value" ]; then
    field "$2"
    case $value in '' | /*) ;; *) value=${config%/*}/$value ;; esac
  fi
  named=$value
  argument "$3"
  folder=${value:-$4}
  shift 4
  set -- "$named" "$folder/$1" "$folder/$2"
  for path in "$@"; do
    shift
    [ ! -f "$root$path" ] || set -- "$@" "$root$path"
  done
  [ $# -gt 0 ] || return 0
  section certificates "$name"
  sed -n '/^-----BEGIN CERTIFICATE-----/,/^-----END CERTIFICATE-----/p' "$@" 2>/dev/null
}

host() {
  local line
  get line "$root/etc/hostname"
  printf 'hostname=%s\n' "${line:-$(uname -n)}"
  if [ -r "$root/etc/os-release" ]; then
    while IFS= read -r line; do
      case $line in PRETTY_NAME=*) printf 'os=%s\n' "${line#*=}" ;; *) ;; esac
    done <"$root/etc/os-release"
  fi
  if [ -n "$whole" ]; then
    line=$(systemctl --version)
    printf 'systemd=%s\n' "${line%%"$newline"*}"
  fi
  get line "$root/proc/sys/kernel/random/boot_id"
  printf 'boot=%s\n' "$line"
  # Where the kubelet looks, too: its --machine-id-file.
  get line "$root/etc/machine-id"
  [ -n "$line" ] || get line "$root/var/lib/dbus/machine-id"
  printf 'machine=%s\n' "$line"
  # Where there is no hierarchy at all, nothing is said.
  if [ -f "$root/sys/fs/cgroup/cgroup.controllers" ]; then
    printf 'cgroup=v2\n'
  elif [ -d "$root/sys/fs/cgroup" ]; then
    printf 'cgroup=v1\n'
  fi
}

# What is asked of this node goes by way of no proxy; wget of busybox has no option for that.
unset http_proxy https_proxy
whole=''
case " $*" in *" user="*) whole=yes ;; *) ;; esac
printf '@observation %s\n' "$mark"
section host
host
show_all "$@"
for each in "$@"; do
  case $each in
  user=*) printf '%s_user=%s\n' "${each#*=}" "$(id -Gn "${each#*=}" 2>/dev/null)" ;;
  *) service "$each" ;;
  esac
done

# Modes and owners, for the question whether an unprivileged service user could read what it needs.
if [ -n "$whole" ] && cd "$root/etc/kubernetes" 2>/dev/null; then
  section modes /etc/kubernetes
  find . -maxdepth 4 -exec stat -L -c '%a %U %G %n' {} + 2>/dev/null
fi
section end
