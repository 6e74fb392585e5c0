if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    if [ "$1" -ge 1 ]; then
        systemctl try-restart cache-canary.service
    fi
fi
# The package owns its files, and not their folders. A folder with a changed configuration stays.
if [ "$1" -eq 0 ]; then
    rmdir /usr/share/doc/cache-canary /etc/cache-canary 2>/dev/null || :
fi
