//! [`Expiry`]: the time at which a certificate or a token ends, and the verdict on it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Cause, Finding, Outcome, Status};
use crate::span::{greatest, setting, timestamp};

named! {
    /// The things that end at a known time.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Expiring {
        /// The certificate that a server shows.
        ServerCertificate = "server_certificate",
        /// The certificate that ends first of those that a server sends with its own.
        Chain = "chain",
        /// The certificate that is shown to servers.
        ClientCertificate = "client_certificate",
        /// The certificate of the sidecar's own listeners.
        ListenerCertificate = "listener_certificate",
        /// A password that is a token.
        Token = "token",
        /// A token that is replaced before its end, so it is shown and not judged.
        RenewedToken = "renewed_token",
    }
}

/// Something that ends at a known time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// Its kind.
    pub what: Expiring,
    /// The name in the certificate, or the setting of the token. It may come from a server, so it is redacted and one
    /// line.
    pub name: Box<str>,
    /// Its end.
    pub at: SystemTime,
}

/// The dates of one node or of an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiries {
    /// The node; `None` if they are those of the alias, whatever the node.
    pub node: Option<Arc<str>>,
    /// The dates.
    pub dates: Arc<[Expiry]>,
}

impl Expiry {
    /// Its end in words: `ends at 2026-12-03T00:00:00Z, in 3 d 2 h`.
    pub(crate) fn when(&self, now: SystemTime) -> String {
        let end = timestamp(self.at);
        match (self.at.duration_since(now), now.duration_since(self.at)) {
            (Ok(left), _) => format!("ends at {end}, in {}", greatest(left)),
            (Err(_), ago) => format!("ended at {end}, {} ago", greatest(ago.unwrap_or_default())),
        }
    }
}

/// The findings about an outcome whose certificates or tokens end `within` this time from `now`, the nearest first.
pub(crate) fn judge(outcome: &Outcome, within: Duration, now: SystemTime) -> Vec<Finding> {
    let limit = setting(within);
    let ends_soon = |(node, date): (Option<&str>, &Expiry)| {
        let is_far = date.at.duration_since(now).is_ok_and(|left| left > within);
        if is_far || date.what == Expiring::RenewedToken {
            return None;
        }
        let about = node.map_or_else(|| date.to_string(), |node| format!("{date} of {node}"));
        let said = format!("{} (degraded within {limit})", date.when(now));
        Some(Finding::new(Status::Degraded, Cause::Expiring, &about, &said))
    };
    outcome.expiries().into_iter().filter_map(ends_soon).collect()
}

impl fmt::Display for Expiry {
    /// `server certificate "cache.example"`, or `token (password)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, name, .. } = self;
        match what {
            Expiring::ServerCertificate => write!(f, "server certificate {name:?}"),
            Expiring::Chain => write!(f, "certificate {name:?} in the server's chain"),
            Expiring::ClientCertificate => write!(f, "client certificate {name:?}"),
            Expiring::ListenerCertificate => write!(f, "certificate {name:?} of the listener"),
            Expiring::Token | Expiring::RenewedToken => write!(f, "token ({name})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::alias::Alias;
    use crate::outcome::{CheckKind, Needs, NodeOutcome, OutcomeExtra, Phases};

    #[test]
    fn a_date_is_a_finding_within_its_time_and_after_it_and_a_renewed_token_never() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_344_661);
        let hours = Duration::from_hours;
        let expiry = |what, at| Expiry { what, name: "cache".into(), at };
        let of_node = [
            expiry(Expiring::ServerCertificate, now + hours(24 * 14)),
            expiry(Expiring::Chain, now - hours(1)),
        ];
        let of_alias = [
            expiry(Expiring::ClientCertificate, now + hours(24 * 14) + Duration::from_secs(1)),
            expiry(Expiring::RenewedToken, now + hours(1)),
        ];
        let nodes = vec![NodeOutcome::server("cache:6380", Phases::default(), None)];
        let (began, took, kind) = ((Instant::now(), now), Duration::ZERO, CheckKind::RoundTrip);
        let mut outcome =
            Outcome::plain(Alias::try_from("main").unwrap(), kind, began, took, nodes, Needs::default());
        assert_eq!(judge(&outcome, hours(24 * 14), now), []);
        let expiries = vec![
            Expiries { node: Some("cache:6380".into()), dates: of_node.into() },
            Expiries { node: None, dates: of_alias.into() },
        ];
        outcome.extra = Some(Box::new(OutcomeExtra { expiries, ..OutcomeExtra::default() }));
        let said: Vec<_> = judge(&outcome, hours(24 * 14), now).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "certificate \"cache\" in the server's chain of cache:6380: ended at 2026-11-22T09:51:01Z, 1 h 0 min \
                 ago (degraded within 14d)",
                "server certificate \"cache\" of cache:6380: ends at 2026-12-06T10:51:01Z, in 14 d 0 h (degraded within \
                 14d)",
            ]
        );
    }
}
