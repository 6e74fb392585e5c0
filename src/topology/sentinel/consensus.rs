//! What each Sentinel says of the primary and of the other Sentinels, compared with what most say.
//!
//! Another address of the primary is a `conflict`: see `disagreement`. The number of replicas may differ honestly, since a
//! Sentinel remembers those that are gone, and another one that started later has never met them.

use std::sync::Arc;

use redis::Value;

use super::{AskedSentinel, Sentinels};
use crate::budget;
use crate::cache::redis::value_of;
use crate::config::Address;
use crate::progress::Progress;
use crate::topology::announced;
use crate::topology::consensus::{Account, Difference};

/// The state of the primary at a Sentinel.
#[derive(Default)]
pub(super) struct SentinelState {
    /// The version of its configuration.
    epoch: u64,
    /// Each part in a fixed order; one that a Sentinel does not tell is not compared.
    parts: [(&'static str, Option<String>); 5],
}

/// The part that is configured at each Sentinel. It learns of the others by and by.
const QUORUM: &str = "quorum";

impl SentinelState {
    /// Reads an answer to `SENTINEL MASTER` ("Redis Sentinel documentation", Asking Sentinel about the state of a master).
    pub(super) fn read(answer: &Value) -> Option<Self> {
        let field = |name| value_of(answer, name).and_then(announced::text).filter(|text| !text.is_empty());
        let is_down = field("flags")?.split(',').any(|flag| matches!(flag, "s_down" | "o_down"));
        let replicas = field("num-slaves").map(|number| if number == "0" { "none" } else { "some" });
        let parts = [
            (QUORUM, field("quorum")),
            ("configuration epoch", field("config-epoch")),
            ("state of the primary", Some(if is_down { "down" } else { "up" })),
            ("other Sentinels", field("num-other-sentinels")),
            ("replicas", replicas),
        ];
        let epoch = field("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or_default();
        Some(Self { epoch, parts: parts.map(|(about, said)| (about, said.map(str::to_owned))) })
    }
}

impl Account for SentinelState {
    fn differences(&self, reference: &Self) -> Vec<Difference> {
        let is_newer = self.epoch > reference.epoch;
        let mut differences = Vec::new();
        for ((about, says), (_, others_say)) in self.parts.iter().zip(&reference.parts) {
            if let (Some(says), Some(others_say)) = (says.clone(), others_say.clone())
                && says != others_say
            {
                let (about, by_gossip) = ((*about).to_owned(), *about != QUORUM);
                differences.push(Difference { about, says, others_say, is_newer, by_gossip });
            }
        }
        differences
    }
}

impl Sentinels {
    /// Compares the Sentinels that name the primary that was `checked`.
    pub(super) async fn compare(&self, checked: &Address, asked: &[AskedSentinel<'_>], progress: &Progress) {
        let Some(consensus) = &self.consensus else { return };
        let names_it = |asked: &&AskedSentinel<'_>| asked.vote().is_some_and(|vote| vote.address == *checked);
        let agreeing: Vec<_> = asked.iter().filter(names_it).collect();
        let names: Vec<Arc<str>> = agreeing.iter().map(|asked| asked.watcher.name.clone()).collect();
        let limit = budget::CONSENSUS.of(self.factory.timeout());
        let ask = |place: usize| {
            let asked = agreeing[place];
            async move { self.state_at(asked).await.and_then(|answer| SentinelState::read(&answer)) }
        };
        consensus.compare(("sentinel", &names), limit, progress, ask).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The state at a Sentinel that tells these fields.
    fn state(fields: &[(&str, &str)]) -> Option<SentinelState> {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let map = fields.iter().map(|(name, value)| (bulk(name), bulk(value))).collect();
        SentinelState::read(&Value::Map(map))
    }

    const HEALTHY: [(&str, &str); 5] = [
        ("flags", "master"),
        ("quorum", "2"),
        ("config-epoch", "7"),
        ("num-other-sentinels", "2"),
        ("num-slaves", "1"),
    ];

    fn said(fields: &[(&str, &str)]) -> Vec<(String, bool)> {
        let differences = state(fields).unwrap().differences(&state(&HEALTHY).unwrap());
        differences.iter().map(|difference| (difference.words(), difference.by_gossip)).collect()
    }

    #[test]
    fn a_sentinel_is_compared_in_what_no_honest_one_keeps_to_itself() {
        assert_eq!(said(&HEALTHY), []);
        let other = |name: &str, value: &'static str| {
            let fields = HEALTHY.map(|(known, healthy)| (known, if known == name { value } else { healthy }));
            said(&fields)
        };
        let by_gossip = |text: &str| vec![(text.to_owned(), true)];
        assert_eq!(other("quorum", "3"), [("quorum: says 3, others say 2".to_owned(), false)]);
        assert_eq!(other("config-epoch", "6"), by_gossip("configuration epoch: says 6, others say 7"));
        assert_eq!(
            other("flags", "s_down,master"),
            by_gossip("state of the primary: says down, others say up")
        );
        assert_eq!(other("num-other-sentinels", "4"), by_gossip("other Sentinels: says 4, others say 2"));
        assert_eq!(other("num-slaves", "0"), by_gossip("replicas: says none, others say some"));
        assert_eq!(other("num-slaves", "3"), [], "it remembers replicas that are gone");
        assert_eq!(other("flags", "master,disconnected"), []);
    }

    #[test]
    fn a_part_that_a_sentinel_does_not_tell_is_not_compared() {
        assert_eq!(said(&[("flags", "master"), ("quorum", "")]), []);
        assert!(state(&[("quorum", "2")]).is_none());
        assert!(SentinelState::read(&Value::Nil).is_none());
    }
}
