# The user of the service, which can read the configuration.
getent group cache-canary >/dev/null || groupadd --system cache-canary
getent passwd cache-canary >/dev/null ||
    useradd --system --gid cache-canary --no-create-home --home-dir / --shell /sbin/nologin cache-canary
