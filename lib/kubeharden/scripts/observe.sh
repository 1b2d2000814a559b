# Reads what there is to know of a node, in one go, and changes nothing.
#
#   sh -c "$(cat observe.sh)" observe SERVICE...
#
# Prints sections: a line "@KIND ARGUMENTS", then base64 text, up to the next "@". The end is "@end",
# so that an answer that was cut off is known as such. Only paths are read from kubeconfig files, never
# what they hold. KUBEHARDEN_ROOT is set on rehearsal nodes only: their file tree lives below it.
set -u
LC_ALL=C
export LC_ALL
root=${KUBEHARDEN_ROOT:-}

section() { # KIND ARGUMENTS... <content
  printf '@%s\n' "$*"
  base64
}

owners() { # ARGUMENTS OF STAT: mode, owner and group; by number where the system knows no name
  stat -c '%a %U %u %G %g' "$@" | awk '{ print $1, ($2 == "UNKNOWN" ? $3 : $2), ($4 == "UNKNOWN" ? $5 : $4) }'
}

file() { # PATH: its content with mode, owner and group, or that there is none
  if [ -f "$root$1" ]; then
    section file "$(owners -L "$root$1")" "$1" <"$root$1"
  else
    printf '@absent %s\n' "$1"
  fi
}

fetch() { # URL
  if command -v curl >/dev/null; then
    curl -sf --max-time 2 "$1"
  elif command -v wget >/dev/null; then
    wget -qO- -T 2 "$1"
  fi 2>/dev/null
}

property() { # NAME <output of systemctl show
  sed -n "s/^$1=//p"
}

argument() { # NAME <command line, one word a line: the last value of --NAME
  awk -v name="--$1" '
    wanted { value = $0; wanted = 0; next }
    $0 == name { wanted = 1; next }
    index($0, name "=") == 1 { value = substr($0, length(name) + 2) }
    END { print value }'
}

service() { # NAME
  show=$(systemctl show -p LoadState,ActiveState,SubState,Result,MainPID,NRestarts,InvocationID \
    -p FragmentPath,DropInPaths,EnvironmentFiles,User,Group,NeedDaemonReload,ExecMainStartTimestamp \
    -p ExecMainStartTimestampMonotonic "$1.service")
  printf '%s\n' "$show" | section show "$1"
  [ "$(printf '%s\n' "$show" | property LoadState)" = loaded ] || return 0

  for path in $(printf '%s\n' "$show" | property FragmentPath) \
    $(printf '%s\n' "$show" | property DropInPaths) \
    $(printf '%s\n' "$show" | property 'EnvironmentFiles\{0,1\}' | sed 's/ (ignore_errors=.*//'); do
    file "$path"
  done

  pid=$(printf '%s\n' "$show" | property MainPID)
  config='' words=''
  if [ "${pid:-0}" != 0 ] && [ -r "$root/proc/$pid/cmdline" ]; then
    section cmdline "$1" <"$root/proc/$pid/cmdline"
    words=$(tr '\0' '\n' <"$root/proc/$pid/cmdline")
    binary=$(printf '%s\n' "$words" | head -n 1)
    config=$(printf '%s\n' "$words" | argument config)
    kubeconfig=$(printf '%s\n' "$words" | argument kubeconfig)
  else
    binary=/usr/bin/$1
    kubeconfig=
  fi
  case $binary in /*) binary=$root$binary ;; esac
  "$binary" --version 2>/dev/null | section version "$1"

  [ -z "$config" ] || file "$config"
  [ "$config" = "/etc/kubernetes/$1.conf" ] || file "/etc/kubernetes/$1.conf"
  if [ -n "$config" ] && [ -f "$root$config" ] && [ -z "$kubeconfig" ]; then
    kubeconfig=$(sed -n 's/^ *"\{0,1\}kubeconfig"\{0,1\}: *//p' "$root$config" | head -n 1 | tr -d "\"' ")
  fi
  if [ -n "$kubeconfig" ] && [ -f "$root$kubeconfig" ]; then
    {
      printf '%s\n' "$kubeconfig"
      sed -n 's/^ *\(client-certificate\|client-key\|certificate-authority\|tokenFile\): *//p' "$root$kubeconfig" |
        tr -d "\"' "
    } | section credentials "$1"
  fi

  invocation=$(printf '%s\n' "$show" | property InvocationID)
  # Before systemd 232 there are no invocations to tell the runs of a service by.
  match=_PID=$pid
  [ -z "$invocation" ] || match=_SYSTEMD_INVOCATION_ID=$invocation
  journalctl -q --no-pager -o cat "$match" |
    grep -i -e 'has been deprecated' -e 'are deprecated' -e 'lenient decoding' | head -n 500 | section warnings "$1"
  case $1 in
  kube-apiserver)
    config=$(printf '%s\n' "$words" | argument admission-control-config-file)
    file "${config:-/etc/kubernetes/admission.yaml}"
    ;;
  kube-proxy) fetch http://127.0.0.1:10249/configz | section configz "$1" ;;
  kube-scheduler) fetch http://127.0.0.1:10251/configz | section configz "$1" ;;
  esac
}

{
  printf 'hostname=%s\n' "$(cat "$root/etc/hostname" 2>/dev/null || uname -n)"
  printf 'os=%s\n' "$(sed -n 's/^PRETTY_NAME=//p' "$root/etc/os-release" 2>/dev/null | tr -d '"')"
  printf 'systemd=%s\n' "$(systemctl --version | head -n 1)"
  printf 'boot=%s\n' "$(cat "$root/proc/sys/kernel/random/boot_id" 2>/dev/null)"
  # Where there is no hierarchy at all, nothing is said.
  [ ! -d "$root/sys/fs/cgroup" ] || printf 'cgroup=%s\n' \
    "$([ -f "$root/sys/fs/cgroup/cgroup.controllers" ] && echo v2 || echo v1)"
  printf 'kubernetes_user=%s\n' "$(id -Gn kubernetes 2>/dev/null)"
} | section host

for name in "$@"; do
  service "$name"
done

# Modes and owners, for the question whether an unprivileged service user could read what it needs.
if cd "$root/etc/kubernetes" 2>/dev/null; then
  find . -maxdepth 4 -exec stat -L -c '%a %U %G %n' {} + 2>/dev/null | section modes /etc/kubernetes
fi
printf '@end\n'
