#!/bin/sh
# Makes the node's images out of one static busybox; see trees.py.
set -eu
work=$(mktemp -d)
mkdir -p "$work/bin" "$work/home/weave" "$work/tmp" "$work/etc"
cp /bin/busybox "$work/bin/busybox"
for name in sh sleep cat ls id ps httpd wget; do ln -s busybox "$work/bin/$name"; done
cat >"$work/entry" <<'END'
#!/bin/sh
# Stays until it is told to go. What a pod gives as arguments is for the program that this stands for.
trap 'exit 0' TERM INT
while :; do sleep 3600 & wait $!; done
END
cp "$work/entry" "$work/home/weave/launch.sh"
chmod 755 "$work/entry" "$work/home/weave/launch.sh"
set --
while read -r image; do set -- "$@" "$image"; done </usr/local/share/lab-images
first=$1
shift
tar -C "$work" -c . | docker import -c 'ENTRYPOINT ["/entry"]' - "$first"
for image in "$@"; do docker tag "$first" "$image"; done
rm -rf "$work"
touch /var/lib/docker/lab-images-are-there
