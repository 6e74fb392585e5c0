#!/bin/sh
# Asks cache-canary for the status of the caches: healthcheck.sh [URL]
#
# Prints the response body, at most 4,096 bytes. The exit code is 0 for a success, and 1 in every other case.
# The URL is the argument, else $CACHE_CANARY_URL, else http://127.0.0.1:8080/health. The response must be complete within
# $HEALTHCHECK_TIMEOUT seconds, by default 5. Uses curl, else wget (GNU's, or for http busybox's), else cache-canary itself.
# With HEALTHCHECK_INSECURE=1 certificates are not verified: only for a server on loopback.
set -u

fail() {
    echo "healthcheck.sh: $1" >&2
    exit 1
}

# Runs a tool that has no time limit for the whole transfer. Waits for every process that it starts: a container may have no
# init that does, and busybox' own `timeout` leaves a zombie behind at each use.
limited() {
    # The pipe ends with the sleep, which ends by itself or is killed.
    { sleep "$limit" >/dev/null & echo "$!"; wait; } | {
        read -r timer
        exec 6<&0
        "$@" 6<&- &
        tool=$!
        { read -r _; kill "$tool"; } <&6 &
        watchdog=$!
        wait "$tool"
        status=$?
        # A status above 128 means a signal.
        [ "$status" -le 128 ] || echo "healthcheck.sh: no complete response within $limit s" >&2
        { kill "$watchdog" "$timer"; wait; } 2>/dev/null
        exit "$status"
    }
}

# Prints the body, of an error too. A redirect is a failure, because only this server is asked; busybox's wget follows
# it all the same. Proxies and the user's configuration files of curl and wget are ignored.
ask() {
    if command -v curl >/dev/null; then
        with_curl
    elif can_use_wget; then
        with_wget
    elif canary=$(command -v cache-canary || command -v /cache-canary); then
        # In an image built from scratch the binary is at the root.
        "$canary" healthcheck --timeout "${limit}s" --url "$url" ${insecure:+--insecure}
    else
        echo "healthcheck.sh: curl, ${https:+GNU }wget or cache-canary is required, and none was found" >&2
        return 1
    fi
}

with_curl() {
    set -- --silent --show-error --max-time "$limit" --noproxy '*' --location --max-redirs 0 "$url"
    [ -z "$insecure" ] || set -- --insecure "$@"
    curl --disable --fail-with-body "$@"
    status=$?
    # curl before 7.76 (2021) can only fail without the body.
    [ "$status" -ne 2 ] || { curl --disable --fail "$@"; status=$?; }
    return "$status"
}

# Busybox's wget cannot do https here: it verifies no certificate, and it sends no list of signature algorithms, which
# this server's TLS requires.
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
        # Busybox shows only the status line of an error, and Debian's static build crashes at a `-T`.
        set -- -q -Y off
    fi
    # The report bypasses the body, and is shown if it reports a failure.
    report=$(limited wget "$@" -O - "$url" 2>&1 >&5)
    status=$?
    [ "$status" -eq 0 ] || echo "$report" >&2
    return "$status"
}

[ $# -le 1 ] || fail "at most one URL is allowed, and $# arguments were given"
url=${1-${CACHE_CANARY_URL:-http://127.0.0.1:8080/health}}
https=
case $url in
http://*) ;;
https://*) https=yes ;;
*) fail "the URL must begin with http:// or https://" ;; # The URL is not shown, because it may contain a password.
esac
limit=${HEALTHCHECK_TIMEOUT:-5}
case $limit in
[1-9] | [1-9][0-9]) ;;
*) fail "HEALTHCHECK_TIMEOUT must be from 1 to 99 seconds, and is $limit" ;;
esac

insecure=${HEALTHCHECK_INSECURE-}
case $insecure in
'' | 1) ;;
*) fail "HEALTHCHECK_INSECURE must be 1 or unset, and is $insecure" ;;
esac

# The body goes through a pipe that cuts it, and the status of `ask` bypasses that pipe. The rest of the body is read too,
# because an unread rest would make a healthy response fail.
exec 4>&1
status=$(
    {
        { ask 5>&1 3>&-; echo $? >&3; } | { dd bs=1 count=4096 2>/dev/null >&4; cat >/dev/null; } 3>&-
    } 3>&1
)
[ "$status" = 0 ] || exit 1
