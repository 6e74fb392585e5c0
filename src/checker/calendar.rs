//! [`Calendar`]: the dates at which the certificates and tokens of an alias end.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::{Dialer, SetupError};
use crate::config::{CacheConfig, Config, PasswordSource, Secret};
use crate::outcome::{Expiries, Expiring, Expiry, Outcome, judge_expiries};
use crate::redaction::Redaction;
use crate::x509;

/// The dates that the configuration of an alias tells. Those of servers are in the outcome of their nodes.
pub(super) struct Calendar {
    own: Arc<[Expiry]>,
    /// The sources of passwords that do not last: each has a date of its own after each run.
    sources: Vec<Arc<PasswordSource>>,
    /// The time before its end from which a date is a finding; zero for never.
    within: Duration,
}

impl Calendar {
    /// The calendar of `cache`; `None` if there is nothing to add to an outcome, and nothing to judge.
    pub(super) fn of(
        cache: &CacheConfig,
        config: &Config,
        dialer: &Dialer,
        redaction: &Redaction,
    ) -> Result<Option<Arc<Self>>, SetupError> {
        let mut certificates = Vec::new();
        for tls in cache.backend.tls() {
            if let Some(identity) = dialer.identity(tls)? {
                certificates.extend(x509::of_identity(&identity.cert, Expiring::ClientCertificate));
            }
        }
        let tokens = redaction.credentials().filter_map(Secret::expires);
        let token = tokens.min().map(|at| Expiry { what: Expiring::Token, name: "password".into(), at });
        // Of each kind there is one date of an alias: the first that comes.
        let own = certificates.into_iter().min_by_key(|date| date.at).into_iter();
        let own: Vec<_> = own.chain(token).collect();
        let within = cache.expires_within.unwrap_or(config.expires_within);
        let sources: Vec<_> = redaction.sources().cloned().collect();
        let is_empty = own.is_empty() && sources.is_empty() && within.is_zero();
        Ok((!is_empty).then(|| Arc::new(Self { own: own.into(), sources, within })))
    }

    /// Adds the dates to an outcome, and judges them and those of its nodes.
    pub(super) fn complete(&self, outcome: &mut Outcome) {
        let renewed = |source: &Arc<PasswordSource>| {
            let at = source.expires()?;
            Some(Expiry { what: Expiring::RenewedToken, name: source.setting().into(), at })
        };
        let renewed: Arc<[_]> =
            self.sources.iter().filter_map(renewed).min_by_key(|date| date.at).into_iter().collect();
        for dates in [&self.own, &renewed].into_iter().filter(|dates| !dates.is_empty()) {
            let dates = Expiries { node: None, dates: dates.clone() };
            outcome.extra.get_or_insert_default().expiries.push(dates);
        }
        if !self.within.is_zero() {
            let found = judge_expiries(outcome, self.within, outcome.began_at);
            // Without a date there is no finding.
            if let Some(extra) = &mut outcome.extra {
                extra.findings.extend(found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tokio::time::Instant;

    use super::*;
    use crate::alias::Alias;
    use crate::checker::redis_at;
    use crate::outcome::{Cause, CheckKind, Needs, NodeOutcome, Phases};

    const DAY: Duration = Duration::from_hours(24);

    /// An outcome that is completed by a calendar whose tokens end so long after the check.
    fn completed(ends: &[Duration], within: Duration) -> Outcome {
        let began_at = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let token = |after: &Duration| Expiry {
            what: Expiring::Token,
            name: "password".into(),
            at: began_at + *after,
        };
        let nodes = vec![NodeOutcome::server("cache:6379", Phases::default(), None)];
        let (began, kind) = ((Instant::now(), began_at), CheckKind::RoundTrip);
        let alias = Alias::try_from("main").unwrap();
        let mut outcome = Outcome::plain(alias, kind, began, Duration::ZERO, nodes, Needs::default());
        let own = ends.iter().map(token).collect();
        Calendar { own, sources: Vec::new(), within }.complete(&mut outcome);
        outcome
    }

    #[test]
    fn the_dates_of_an_alias_are_added_to_its_outcome_and_judged_if_there_is_a_limit() {
        let soon = completed(&[DAY], DAY * 14);
        assert_eq!((soon.expiries().len(), soon.cause()), (1, Some(Cause::Expiring)));
        let later = completed(&[DAY * 15], DAY * 14);
        assert_eq!((later.expiries().len(), later.cause()), (1, None));
        let without_limit = completed(&[DAY], Duration::ZERO);
        assert_eq!((without_limit.expiries().len(), without_limit.cause()), (1, None));
        assert_eq!(completed(&[], DAY * 14).extra, None);
    }

    #[tokio::test]
    async fn an_alias_without_dates_has_a_calendar_only_if_those_of_its_servers_are_judged() {
        let cache = redis_at("main", 1);
        let calendar = |expires_within| {
            let config = Config { expires_within, ..Config::default() };
            let dialer = Dialer::new(&config, Arc::default());
            Calendar::of(&cache, &config, &dialer, &Redaction::of(&cache.backend, &[])).unwrap()
        };
        assert!(calendar(Duration::ZERO).is_none());
        assert!(calendar(DAY).is_some());
    }
}
