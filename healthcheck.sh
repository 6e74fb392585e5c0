#!/bin/sh
# Asks a cache-canary whether the caches work: healthcheck.sh [URL]
#
# Prints the answer's body, at most 4,096 bytes, and exits with 0 when it is a success, with 1 in every other case.
# The URL is the argument, else $CACHE_CANARY_URL, else http://127.0.0.1:8080/health. The answer must be complete within
# $HEALTHCHECK_TIMEOUT seconds, 5 unless said. Uses curl, else wget (GNU's, or for http busybox's), else cache-canary itself.
# With HEALTHCHECK_INSECURE=1 any certificate is taken: for a server on loopback, where nobody is in between.
set -u

fail() {
    echo "healthcheck.sh: $1" >&2
    exit 1
}

# Runs a tool that has no limit for the whole of its work. Every process that this starts is waited for: in a container there
# is nobody else to do it, and busybox' own `timeout` leaves a zombie behind at each use.
limited() {
    # The pipe comes to its end when the sleep does, by itself or killed.
    { sleep "$limit" >/dev/null & echo "$!"; wait; } | {
        read -r timer
        exec 6<&0
        "$@" 6<&- &
        tool=$!
        { read -r _; kill "$tool"; } <&6 &
        watchdog=$!
        wait "$tool"
        status=$?
        # Above 128 is a signal's.
        [ "$status" -le 128 ] || echo "healthcheck.sh: no whole answer within $limit s" >&2
        { kill "$watchdog" "$timer"; wait; } 2>/dev/null
        exit "$status"
    }
}

# Prints the body, of an error too. A redirect is a failure, as this server is asked and no other; busybox's wget follows
# it all the same. Proxies, and what a user's own file says about curl or wget, are not for this.
ask() {
    if command -v curl >/dev/null; then
        with_curl
    elif can_use_wget; then
        with_wget
    elif canary=$(command -v cache-canary || command -v /cache-canary); then
        # In an image that was made from scratch it is at the root.
        "$canary" healthcheck --timeout "${limit}s" --url "$url" ${insecure:+--insecure}
    else
        echo "healthcheck.sh: needs one of curl, ${https:+GNU }wget and cache-canary, and finds none of them" >&2
        return 1
    fi
}

with_curl() {
    set -- --silent --show-error --max-time "$limit" --noproxy '*' --location --max-redirs 0 "$url"
    [ -z "$insecure" ] || set -- --insecure "$@"
    curl --disable --fail-with-body "$@"
    status=$?
    # Older than 7.76, of 2021: it knows only how to fail without the body.
    [ "$status" -ne 2 ] || { curl --disable --fail "$@"; status=$?; }
    return "$status"
}

# Busybox's is of no use for https: it verifies no certificate, and does not name the signatures that it knows, without
# which this server takes no TLS.
can_use_wget() {
    command -v wget >/dev/null || return
    [ -z "$https" ] || is_gnu_wget
}

is_gnu_wget() {
    case $(wget --help 2>&1) in
    *--content-on-error*) return 0 ;;
    *) return 1 ;;
    esac
}

with_wget() {
    if is_gnu_wget; then
        set -- --no-config --no-verbose --content-on-error --no-proxy --max-redirect=0
        set -- "$@" --tries=1 --timeout="$limit"
        [ -z "$insecure" ] || set -- "$@" --no-check-certificate
    else
        # Of an error it shows the status line alone, and Debian's static one crashes at a `-T`.
        set -- -q -Y off
    fi
    # Its report goes around the body, and is shown when it tells of a failure.
    report=$(limited wget "$@" -O - "$url" 2>&1 >&5)
    status=$?
    [ "$status" -eq 0 ] || echo "$report" >&2
    return "$status"
}

[ $# -le 1 ] || fail "takes one URL, and was given $# arguments"
url=${1-${CACHE_CANARY_URL:-http://127.0.0.1:8080/health}}
https=
case $url in
http://*) ;;
https://*) https=yes ;;
*) fail "takes a URL that begins with http:// or https://" ;; # And shows none, it may have a password in it.
esac
limit=${HEALTHCHECK_TIMEOUT:-5}
case $limit in
[1-9] | [1-9][0-9]) ;;
*) fail "HEALTHCHECK_TIMEOUT must be from 1 to 99 seconds: $limit" ;;
esac

insecure=${HEALTHCHECK_INSECURE-}
case $insecure in
'' | 1) ;;
*) fail "HEALTHCHECK_INSECURE must be 1, or not be set: $insecure" ;;
esac

# The body goes through a pipe to be cut, and what `ask` returned goes around it. The rest of the body is read too, so that
# a healthy answer is not taken for a broken one because nobody reads it.
exec 4>&1
status=$(
    {
        { ask 5>&1 3>&-; echo $? >&3; } | { dd bs=1 count=4096 2>/dev/null >&4; cat >/dev/null; } 3>&-
    } 3>&1
)
[ "$status" = 0 ] || exit 1
