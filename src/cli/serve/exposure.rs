//! The details that callers from everywhere see, in a sentence for the log.

use crate::config::{Config, Listen};

/// The sentence, if every caller has access, and can reach a listener from beyond this host. A listener that
/// demands certificates of its clients knows its callers.
pub(super) fn exposure(config: &Config) -> Option<String> {
    let access = &config.access;
    let is_for_everyone = access.allow.iter().any(|network| network.prefix_len() == 0);
    let asks_for_certificate = config.tls.as_ref().is_some_and(|tls| tls.client_ca_file.is_some());
    let listeners = [&config.listen, &config.probes.listen, &config.metrics.listen];
    let exposed: Vec<_> = listeners.into_iter().flatten().filter_map(beyond_this_host).collect();
    if !is_for_everyone || asks_for_certificate || exposed.is_empty() {
        return None;
    }
    let mut insiders: Vec<_> = access.details.iter().map(ToString::to_string).collect();
    insiders.extend(access.token.is_some().then(|| "callers with access.token".to_owned()));
    let insiders = if insiders.is_empty() { "nobody".to_owned() } else { insiders.join(", ") };
    Some(format!(
        "access.allow admits everyone: each caller that reaches {} sees the names of the caches, their statuses, causes and history, \
         and the metrics; server addresses, durations and texts are only for {insiders} (access.details)",
        exposed.join(", ")
    ))
}

/// The address, if callers of other hosts reach it.
fn beyond_this_host(listen: &Listen) -> Option<String> {
    match listen {
        Listen::Tcp(address) if !address.ip().to_canonical().is_loopback() => Some(address.to_string()),
        Listen::Tcp(_) | Listen::Unix(_) => None,
    }
}
