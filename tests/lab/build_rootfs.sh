#!/bin/sh
# Makes the root file system that all nodes share: Debian with systemd, sshd, docker and etcd.
#
#   build_rootfs.sh MIRROR SUITE TARGET
#
# The folder TARGET appears only when all is done.
set -eu
mirror=$1 suite=$2 target=$3
work=$target.build
packages=systemd,systemd-sysv,dbus,openssh-server,sudo,iproute2,iptables,conntrack,ethtool,socat,containerd
packages=$packages,docker.io,containernetworking-plugins,busybox-static,etcd-server,jq,curl,ca-certificates,kmod
packages=$packages,procps,nftables

# A killed debootstrap may have left /proc and /sys mounted below it.
awk -v at="$work/" 'index($2, at) == 1 { print $2 }' /proc/self/mounts | sort -r | while read -r place; do
  umount -l "$place"
done
rm -rf --one-file-system "$work"
debootstrap --variant=minbase --include="$packages" "$suite" "$work" "$mirror"

cd "$work"
rm -rf var/cache/apt/archives/*.deb var/lib/apt/lists/* etc/ssh/ssh_host_* var/log/journal
: >etc/machine-id
: >etc/resolv.conf
for unit in etcd.service docker.service docker.socket apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
  e2scrub_all.timer e2scrub_reap.service fstrim.timer nftables.service getty.target console-getty.service; do
  rm -f etc/systemd/system/*.wants/"$unit"
done
# The nodes' clock, modules and devices are the host's.
for unit in systemd-modules-load.service systemd-udevd.service systemd-timesyncd.service \
  systemd-networkd.service systemd-networkd-wait-online.service console-getty.service; do
  rm -f etc/systemd/system/"$unit"
  ln -s /dev/null etc/systemd/system/"$unit"
done
mkdir -p etc/systemd/journald.conf.d opt/cni usr/local/sbin
ln -s /usr/lib/cni opt/cni/bin
printf '[Journal]\nStorage=persistent\nRateLimitBurst=0\nReadKMsg=no\n' >etc/systemd/journald.conf.d/lab.conf
chroot . useradd --create-home --shell /bin/sh ops
chroot . useradd --system --shell /usr/sbin/nologin kubernetes
printf 'ops ALL=(ALL) NOPASSWD: ALL\n' >etc/sudoers.d/ops
chmod 440 etc/sudoers.d/ops
sed -i 's/^#\{0,1\}PasswordAuthentication.*/PasswordAuthentication no/; s/^#\{0,1\}UseDNS.*/UseDNS no/' \
  etc/ssh/sshd_config
cd /
mv "$work" "$target"
