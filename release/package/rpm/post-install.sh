# $1 is the number of versions that are installed when this is done.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
if [ "$1" -eq 1 ] && command -v systemctl >/dev/null; then
    systemctl preset cache-canary.service >/dev/null 2>&1 || :
fi
