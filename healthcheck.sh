#!/bin/sh
# Asks a cache-canary whether the caches work: healthcheck.sh [URL | -c FILE]
#
# Prints the response body, at most 4,096 bytes. The exit code is 0 for a success, and 1 in every other case.
# The URL is the argument, else $CACHE_CANARY_URL, else /health at the listener of the configuration in force: the program
# finds it, of $CACHE_CANARY_CONFIG and the arguments of `serve` too; without the program it is the first address in
# $CACHE_CANARY_PROBES__LISTEN or $CACHE_CANARY_LISTEN, else 127.0.0.1:8080. The answer must be complete within
# $HEALTHCHECK_TIMEOUT seconds, 5 unless said. Uses cache-canary itself, else curl, else wget (GNU's, or for http busybox's).
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
    if [ -n "$canary" ]; then
        set -- ${insecure:+--insecure}
        [ -z "$file" ] || set -- -c "$file" "$@"
        [ -z "$url" ] || set -- --url "$url" "$@"
        "$canary" healthcheck --timeout "${limit}s" "$@"
    elif command -v curl >/dev/null; then
        with_curl
    elif can_use_wget; then
        with_wget
    else
        echo "healthcheck.sh: needs one of cache-canary, curl and ${https:+GNU }wget, and finds none of them" >&2
        return 1
    fi
}

# A value without white space at its ends.
trimmed() {
    value=${1#"${1%%[![:space:]]*}"}
    printf %s "${value%"${value##*[![:space:]]}"}"
}

# The URL of the listener that the environment alone names.
find_listener() {
    listen=$(trimmed "${CACHE_CANARY_PROBES__LISTEN-}")
    listen=${listen:-$(trimmed "${CACHE_CANARY_LISTEN-}")}
    listen=${listen:-127.0.0.1:8080}
    listen=$(trimmed "${listen%%,*}")
    case $listen in
    unix:*)
        socket=${listen#unix:}
        socket=${socket#//}
        url=http://localhost/health
        return
        ;;
    0.0.0.0:* | '[::]:'*) listen=127.0.0.1:${listen##*:} ;;
    esac
    url=http${CACHE_CANARY_TLS__CERT_FILE:+s}://$listen/health
}

with_curl() {
    set -- --silent --show-error --max-time "$limit" --noproxy '*' --location --max-redirs 0 "$url"
    [ -z "$insecure" ] || set -- --insecure "$@"
    [ -z "$socket" ] || set -- --unix-socket "$socket" "$@"
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
    [ -z "$socket" ] || return
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

file=
socket=
# In an image that was made from scratch it is at the root.
canary=$(command -v cache-canary || command -v /cache-canary)
if [ "${1-}" = -c ] && [ $# -eq 2 ]; then
    file=$2
    url=
    [ -n "$canary" ] || fail "needs cache-canary to read a configuration, and does not find it"
else
    [ $# -le 1 ] || fail "takes one URL or -c FILE, and was given $# arguments"
    url=$(trimmed "${1-${CACHE_CANARY_URL-}}")
    [ -n "$canary$url" ] || find_listener
fi
https=
case $url in
'' | http://*) ;;
https://*) https=yes ;;
[\"\']*) fail "the URL begins with a quote, which is part of it; remove the quotes around it" ;;
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
