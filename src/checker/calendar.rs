//! [`Calendar`]: the dates at which the certificates and tokens of an alias end.

use std::sync::Arc;

use crate::cache::{Dialer, SetupError};
use crate::config::{CacheConfig, Secret};
use crate::outcome::{Expiries, Expiring, Expiry, Outcome};
use crate::redaction::Redaction;
use crate::x509;

/// The dates that the configuration of an alias tells. Those of servers are in the outcome of their nodes.
pub(super) struct Calendar {
    own: Arc<[Expiry]>,
}

impl Calendar {
    /// The calendar of `cache`; `None` if there is nothing to add to an outcome.
    pub(super) fn of(
        cache: &CacheConfig,
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
        Ok((!own.is_empty()).then(|| Arc::new(Self { own: own.into() })))
    }

    /// Adds the dates to an outcome.
    pub(super) fn complete(&self, outcome: &mut Outcome) {
        let own = Expiries { node: None, dates: self.own.clone() };
        outcome.extra.get_or_insert_default().expiries.push(own);
    }
}
