//! What `config show` says of everything but the caches, and `config check` of groups.

use std::path::Path;

use humantime::format_duration;

use super::{TomlLines, key, list, quoted};
use crate::config::{Access, ClientCertificate, Config, Fleet, Group, ListenerTls, MASK};

impl TomlLines<'_> {
    pub(super) fn settings(&mut self, config: &Config) {
        self.value("listen", list(&config.listen), "listen");
        self.value("prefix", quoted(&config.prefix), "prefix");
        self.value("instance", quoted(&config.instance), "instance");
        for (key, duration) in [
            ("timeout", config.timeout),
            ("max_age", config.max_age),
            ("reconnect_every", config.reconnect_every),
            ("dns_recheck", config.dns_recheck),
            ("interval", config.interval.unwrap_or_default()),
            ("drain", config.drain),
        ] {
            self.value(key, quoted(&format_duration(duration).to_string()), key);
        }
        self.access(&config.access);
        if let Some(tls) = &config.tls {
            self.listener_tls(tls);
        }
        self.header("limits");
        for (key, number) in [
            ("connections", config.limits.connections),
            ("unread_bytes", config.limits.unread_bytes),
            ("unread_bytes_per_connection", config.limits.unread_bytes_per_connection),
        ] {
            self.value(key, number.to_string(), &format!("limits.{key}"));
        }
        self.header("probes");
        self.value("listen", list(&config.probes.listen), "probes.listen");
        self.header("metrics");
        self.value("listen", list(&config.metrics.listen), "metrics.listen");
        for group in &config.groups {
            self.group(group);
        }
        if let Some(fleet) = &config.fleet {
            self.fleet(fleet);
        }
    }

    fn access(&mut self, access: &Access) {
        self.header("access");
        self.value("allow", list(&access.allow), "access.allow");
        self.value("details", list(&access.details), "access.details");
        if !access.hosts.is_empty() {
            self.value("hosts", list(&access.hosts), "access.hosts");
        }
        let proxies = &access.trusted_proxies;
        let unix = proxies.unix.then(|| "unix".to_owned());
        let proxies = proxies.networks.iter().map(ToString::to_string).chain(unix);
        self.value("trusted_proxies", list(proxies), "access.trusted_proxies");
        if access.token.is_some() {
            self.value("token", quoted(MASK), "access.token");
        }
    }

    fn listener_tls(&mut self, tls: &ListenerTls) {
        self.header("tls");
        let ListenerTls { identity: ClientCertificate { cert_file, key_file }, client_ca_file } = tls;
        let mut file = |key: &str, path: &Path| {
            self.value(key, quoted(&path.display().to_string()), &format!("tls.{key}"));
        };
        file("cert_file", cert_file);
        file("key_file", key_file);
        if let Some(path) = client_ca_file {
            file("client_ca_file", path);
        }
    }

    fn group(&mut self, group: &Group) {
        self.header(&format!("groups.{}", key(&group.name)));
        let path = |key: &str| format!("groups.{}.{key}", group.name);
        if let Some(include) = &group.include {
            self.value("include", list(include), &path("include"));
        }
        if !group.exclude.is_empty() {
            self.value("exclude", list(&group.exclude), &path("exclude"));
        }
    }

    fn fleet(&mut self, Fleet { via, lasts, role, .. }: &Fleet) {
        self.header("fleet");
        self.value("via", quoted(via.as_str()), "fleet.via");
        self.value("for", quoted(&format_duration(*lasts).to_string()), "fleet.for");
        self.value("role", quoted(role), "fleet.role");
    }
}

/// What is in a group, in its own words.
pub(super) fn members(group: &Group) -> String {
    let included = match &group.include {
        None => "everything".to_owned(),
        Some(include) if include.is_empty() => "nothing".to_owned(),
        Some(include) => include.join(", "),
    };
    match group.exclude.as_slice() {
        [] => included,
        exclude => format!("{included}, without {}", exclude.join(", ")),
    }
}
