# shellcheck shell=dash disable=SC2154
# Asks for the password of sudo on standard input, and reads not a byte more: what follows belongs to the command. The
# server sets prompt and password in front of this: see sudo.py.
tried=0
words='no password was provided'
while :; do
  printf %s "$prompt" >&2
  IFS= read -r given || [ -n "$given" ] || {
    printf '\nsudo: %s\n' "$words" >&2
    exit 1
  }
  [ "$given" != "$password" ] || break
  echo 'Sorry, try again.' >&2
  tried=$((tried + 1))
  words="$tried incorrect password attempt"
  [ "$tried" = 1 ] || words=${words}s
  [ "$tried" -lt 3 ] || {
    echo "sudo: $words" >&2
    exit 1
  }
done
