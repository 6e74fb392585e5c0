#!/bin/sh
# Installs the program cache-canary of a release, after it has verified its checksum: install.sh [FOLDER]
#
# The folder is /usr/local/bin unless another is named. VERSION names another version, and RELEASES another address of the
# releases, a folder for each version such as v0.1.0. It needs curl or wget, and sha256sum or shasum.
set -eu

releases=${RELEASES:-}
version=${VERSION:-}
folder=${1:-/usr/local/bin}

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

case $folder in
    --help)
        sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    -*) fail "$folder is not an option; the only argument is a folder" ;;
esac
if [ -z "$releases" ] || [ -z "$version" ]; then
    fail "set RELEASES and VERSION, or take install.sh from a release, where they are set"
fi
case "$(uname -s) $(uname -m)" in
    "Linux x86_64" | "Linux amd64") target=x86_64-unknown-linux-gnu ;;
    "Linux aarch64" | "Linux arm64") target=aarch64-unknown-linux-gnu ;;
    *) fail "there is no program for $(uname -s) on $(uname -m); build it with cargo install" ;;
esac
name=cache-canary-$version-$target

fetch() {
    if command -v curl >/dev/null; then
        curl --fail --silent --show-error --location --output "$2" "$1"
    elif command -v wget >/dev/null; then
        wget -q -O "$2" "$1"
    else
        fail "neither curl nor wget is installed"
    fi || fail "cannot download $1"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fetch "$releases/v$version/$name.tar.gz" "$work/$name.tar.gz"
fetch "$releases/v$version/SHA256SUMS" "$work/SHA256SUMS"
# A name is preceded by two spaces, or by a space and an asterisk.
grep "^[0-9a-f]\{64\} [ *]$name\.tar\.gz\$" "$work/SHA256SUMS" >"$work/wanted" || fail "SHA256SUMS has no line for $name.tar.gz"
if command -v sha256sum >/dev/null; then
    (cd "$work" && sha256sum -c wanted >/dev/null 2>&1)
else
    (cd "$work" && shasum -a 256 -c wanted >/dev/null 2>&1)
fi || fail "the checksum of $name.tar.gz is not the one in SHA256SUMS; nothing was installed"
tar -xzf "$work/$name.tar.gz" -C "$work"
mkdir -p "$folder" || fail "cannot make $folder"
# A program that runs cannot be written to, so the new one takes its place.
cp "$work/$name/cache-canary" "$folder/.cache-canary.new" || fail "cannot write to $folder; run it as root, or name another folder"
chmod 755 "$folder/.cache-canary.new"
mv -f "$folder/.cache-canary.new" "$folder/cache-canary"
echo "installed $("$folder/cache-canary" --version) in $folder"
