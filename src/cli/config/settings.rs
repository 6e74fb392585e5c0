//! The output of `config show` for all settings but the caches, and of `config check` for groups.

use std::path::Path;

use humantime::format_duration;

use super::{TomlLines, file, key, list, quoted};
use crate::config::{
    Access, CallerLimits, ClientCertificate, Config, Fleet, Group, ListenerTls, MASK, Shard, TargetList,
};
use crate::span::setting;

impl TomlLines<'_> {
    pub(super) fn settings(&mut self, config: &Config) {
        // Without `..`, so that a new setting does not compile until it is shown; `caches` are shown after these.
        #[rustfmt::skip]
        let Config {
            listen, prefix, instance, timeout, slow, max_age, reconnect_every, dns_recheck, interval, expires_within,
            drain, access, tls, limits, probes, metrics, groups, skips_unknown, fleet, targets, shard, caches: _,
        } = config;
        self.value("listen", list(listen), "listen");
        self.value("prefix", quoted(prefix), "prefix");
        self.value("instance", quoted(instance), "instance");
        for (key, duration) in [
            ("timeout", *timeout),
            ("slow", slow.unwrap_or_default()),
            ("max_age", *max_age),
            ("reconnect_every", *reconnect_every),
            ("dns_recheck", *dns_recheck),
            ("interval", interval.unwrap_or_default()),
            ("expires_within", *expires_within),
            ("drain", *drain),
        ] {
            self.value(key, quoted(&setting(duration)), key);
        }
        self.value("django_unknown", quoted(if *skips_unknown { "skip" } else { "error" }), "django_unknown");
        self.access(access);
        if let Some(tls) = tls {
            self.listener_tls(tls);
        }
        self.header("limits");
        let CallerLimits { connections, unread_bytes, unread_bytes_per_connection } = limits;
        for (key, number) in [
            ("connections", connections),
            ("unread_bytes", unread_bytes),
            ("unread_bytes_per_connection", unread_bytes_per_connection),
        ] {
            self.value(key, number, &format!("limits.{key}"));
        }
        for (name, own) in [("probes", &probes.listen), ("metrics", &metrics.listen)] {
            self.header(name);
            self.value("listen", list(own), &format!("{name}.listen"));
        }
        for group in groups {
            self.group(group);
        }
        if let Some(fleet) = fleet {
            self.fleet(fleet);
        }
        if let Some(TargetList { source, count }) = targets {
            self.lines.push((String::new(), None));
            let line = format!("# [targets] {count} targets of {source}, each of which is a cache below");
            self.lines.push((line, Some(self.loaded.origin("targets"))));
        }
        if let Some(Shard { index, of, .. }) = shard {
            self.header("shard");
            self.value("index", index, "shard.index");
            self.value("of", of, "shard.of");
        }
    }

    fn access(&mut self, access: &Access) {
        let Access { allow, details, hosts, trusted_proxies, token } = access;
        self.header("access");
        self.value("allow", list(allow), "access.allow");
        self.value("details", list(details), "access.details");
        if !hosts.is_empty() {
            self.value("hosts", list(hosts), "access.hosts");
        }
        let unix = trusted_proxies.unix.then(|| "unix".to_owned());
        let proxies = trusted_proxies.networks.iter().map(ToString::to_string).chain(unix);
        self.value("trusted_proxies", list(proxies), "access.trusted_proxies");
        if token.is_some() {
            self.value("token", quoted(MASK), "access.token");
        }
    }

    fn listener_tls(&mut self, tls: &ListenerTls) {
        self.header("tls");
        let ListenerTls { identity: ClientCertificate { cert_file, key_file }, client_ca_file } = tls;
        let mut of_file = |key: &str, path: &Path| {
            self.value(key, file(path), &format!("tls.{key}"));
        };
        of_file("cert_file", cert_file);
        of_file("key_file", key_file);
        if let Some(path) = client_ca_file {
            of_file("client_ca_file", path);
        }
    }

    fn group(&mut self, group: &Group) {
        self.header(&format!("groups.{}", key(&group.name)));
        let path = |key: &str| format!("groups.{}.{key}", group.name);
        let shown = |words: &[String]| {
            let (shown, hidden): (Vec<_>, Vec<_>) =
                words.iter().cloned().partition(|word| self.is_shown(word));
            let (others, hidden): (Vec<_>, Vec<_>) =
                hidden.into_iter().partition(|word| self.is_of_another_shard(word));
            let comment = |why: &str, words: &[String]| {
                (!words.is_empty()).then(|| format!("# Left out, since {why}: {}", words.join(", ")))
            };
            let hidden =
                [comment("no setting describes it", &hidden), comment("another shard has it", &others)];
            (shown, hidden)
        };
        let include = group.include.as_deref().map(shown);
        let (exclude, not_excluded) = shown(&group.exclude);
        let comments = include.iter().flat_map(|(_, hidden)| hidden).chain(&not_excluded).flatten();
        let comments: Vec<_> = comments.map(|comment| (comment.clone(), None)).collect();
        self.lines.extend(comments);
        if let Some((include, _)) = include {
            self.value("include", list(include), &path("include"));
        }
        if !exclude.is_empty() {
            self.value("exclude", list(exclude), &path("exclude"));
        }
    }

    fn fleet(&mut self, Fleet { via, store: _, lasts, role }: &Fleet) {
        self.header("fleet");
        self.value("via", quoted(via.as_str()), "fleet.via");
        self.value("for", quoted(&format_duration(*lasts).to_string()), "fleet.for");
        self.value("role", quoted(role), "fleet.role");
    }
}

/// The members of a group, as they are configured.
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
