#!/bin/sh
# Builds Kubernetes 1.20.2 from Debian's source package, which is the complete upstream tree although
# Debian packages only kubectl from it. Nothing is installed on the host.
#
#   build_binaries.sh MIRROR SUITE TARGET
#
# The folder TARGET appears only when all is done; what a killed build left (TARGET.build) is used again.
set -eu
mirror=$1 suite=$2 target=$3
version=v1.20.2
programs='kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl'
work=$target.build
mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial" "$work/go-cache" "$work/tmp"
cd "$work"

# Package lists of our own: the host's apt configuration stays as it is, but for where it finds its mirror.
signed='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
printf 'deb-src %s %s %s main\ndeb %s %s %s main\n' "$signed" "$mirror" "$suite" "$signed" "$mirror" "$suite" \
  >apt/sources.list
apt() {
  apt-get -q -y -o Dir::Etc::SourceList="$work/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::State::Lists="$work/apt/lists" -o Dir::Cache="$work/apt" -o APT::Sandbox::User=root "$@"
}
if [ ! -e unpacked ]; then
  rm -rf kubernetes-*/ reflect2
  apt update
  apt source kubernetes
  # reflect2 1.0.1 of the vendor folder panics under Go 1.18 and later; Debian has the version that does not.
  apt download golang-github-modern-go-reflect2-dev
  dpkg-deb -x golang-github-modern-go-reflect2-dev_*.deb reflect2
  set -- kubernetes-*/
  rm "$1"/vendor/github.com/modern-go/reflect2/*.go # the two versions' files would declare things twice
  cp reflect2/usr/share/gocode/src/github.com/modern-go/reflect2/* "$1/vendor/github.com/modern-go/reflect2/"
  touch unpacked
fi

set -- kubernetes-*/
cd "$1"
what=''
for program in $programs; do what="$what cmd/$program"; done
export GOFLAGS=-mod=vendor GOPROXY=off GOCACHE="$work/go-cache" TMPDIR="$work/tmp" HOME="$work"
# Without these the binaries report no version, and the kubelets' Node objects neither.
export KUBE_GIT_VERSION="$version" KUBE_GIT_MAJOR=1 KUBE_GIT_MINOR=20 KUBE_GIT_TREE_STATE=clean
export KUBE_GIT_COMMIT=faecb196815e248d3ecfb03c680a4507229c2a56
make WHAT="$what"

rm -rf "$work/done"
mkdir -p "$work/done/usr/bin"
for program in $programs; do cp "_output/local/go/bin/$program" "$work/done/usr/bin/"; done
test "$("$work/done/usr/bin/kubelet" --version)" = "Kubernetes $version"
mv "$work/done" "$target"
chmod -R u+w "$work" # Go keeps its caches read-only
rm -rf "$work"
