//! Sentinels that name several primaries: which of them is checked, and which Sentinel contradicts the others.

use std::time::Duration;

use futures_util::future::{join, join_all};
use redis::{Value, cmd};
use tokio::time::timeout;

use super::{ADDRESS_LIMIT, AskedSentinel, Sentinels};
use crate::budget;
use crate::cache::Cache as _;
use crate::cache::redis::{Query, Requirement, value_of};
use crate::config::Address;
use crate::outcome::{Cause, Fault, Phase};
use crate::progress::NodeProgress;
use crate::topology::announced;

/// The time after which a Sentinel must have heard of a failover. Each tells the others of its configuration every 2 s
/// ("Redis Sentinel documentation", Configuration propagation).
const HEARSAY: Duration = Duration::from_secs(10);

/// The most bytes of an answer to `SENTINEL MASTER`, which has some 20 short fields.
const MASTER_LIMIT: usize = 4 * ADDRESS_LIMIT;

/// A Sentinel's view of the primary that it names, and that server's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NamedPrimary {
    /// The version of the Sentinel's configuration: every failover has a greater one.
    epoch: Option<u64>,
    /// The server's run ID, which is the same whatever its address.
    run_id: Option<String>,
    /// `true` if the server itself reports the role of a primary.
    is_primary: bool,
}

impl NamedPrimary {
    /// `true` if both are one server that has two addresses.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.run_id.is_some() && self.run_id == other.run_id
    }

    /// `true` if a failover explains that a Sentinel names this one and not `chosen`, which others have named for `since`:
    /// it has not heard of it yet. A version that is not known may be older.
    fn is_late(&self, chosen: &Self, since: Duration) -> bool {
        let is_newer = matches!((self.epoch, chosen.epoch), (Some(this), Some(that)) if this >= that);
        !is_newer && !self.is_primary && since < HEARSAY
    }
}

impl Sentinels {
    /// The primary to check if none has a majority of the answers. The fault says that there are two.
    pub(super) async fn settle(&self, asked: &[AskedSentinel<'_>]) -> Result<Address, Fault> {
        let voters: Vec<_> = asked.iter().filter_map(|asked| Some((asked, asked.vote()?))).collect();
        let named = voters.iter().map(|(asked, vote)| self.named_primary(asked, &vote.address));
        let named = join_all(named).await;
        let primaries: Vec<_> = named.iter().zip(&voters).filter(|(named, _)| named.is_primary).collect();
        let Some((one, (_, first))) = primaries.first() else {
            // The newest one is down too, and its check says of what.
            let newest = named.iter().zip(&voters).max_by_key(|(named, (_, vote))| (named.epoch, vote.since));
            return newest.map(|(_, (_, vote))| vote.address.clone()).ok_or_else(|| {
                Fault::new(Cause::Unreachable, Phase::Resolve, "no Sentinel names a primary")
            });
        };
        if primaries.iter().all(|(other, (_, vote))| vote.address == first.address || other.is_same(one)) {
            return Ok(first.address.clone());
        }
        let said = voters.iter().map(|(asked, vote)| {
            format!("{} names {}", asked.watcher.name, self.factory.name(&vote.address))
        });
        let said = said.collect::<Vec<_>>().join(", ");
        let said = format!("no majority of Sentinels, and more than one primary: {said}");
        Err(Fault::new(Cause::Conflict, Phase::Resolve, &said))
    }

    /// Judges the Sentinels that name another server than the primary that was `checked`.
    pub(super) async fn judge_others(&self, checked: &Address, asked: &[AskedSentinel<'_>]) {
        let votes: Vec<_> = asked.iter().filter_map(|asked| Some((asked, asked.vote()?))).collect();
        let (agreeing, others): (Vec<_>, Vec<_>) =
            votes.iter().partition(|(_, vote)| vote.address == *checked);
        let Some((witness, _)) = agreeing.first().filter(|_| !others.is_empty()) else { return };
        let since = agreeing.iter().map(|(_, vote)| vote.since.elapsed()).max().unwrap_or_default();
        let named = join_all(others.iter().map(|(asked, vote)| self.named_primary(asked, &vote.address)));
        let (chosen, named) = join(self.seen_by(witness), named).await;
        for ((asked, vote), named) in others.into_iter().zip(named) {
            if named.is_same(&chosen) || named.is_late(&chosen, since) {
                continue;
            }
            let role = if named.is_primary { ", and both are primaries" } else { "" };
            let said = format!(
                "names {}, while {} of {} Sentinels name {}{role}",
                self.factory.name(&vote.address),
                agreeing.len(),
                votes.len(),
                self.factory.name(checked),
            );
            asked.progress.conclude(Err(asked.progress.fault(Cause::Conflict, &said)));
        }
    }

    /// The server that a Sentinel names, by the words of both.
    async fn named_primary(&self, asked: &AskedSentinel<'_>, address: &Address) -> NamedPrimary {
        let (seen, is_primary) = join(self.seen_by(asked), self.is_primary(address, &asked.progress)).await;
        NamedPrimary { is_primary, ..seen }
    }

    /// The words of a Sentinel about the primary that it names, as far as it answers.
    async fn seen_by(&self, asked: &AskedSentinel<'_>) -> NamedPrimary {
        self.state_at(asked).await.map(|answer| read(&answer)).unwrap_or_default()
    }

    /// A Sentinel's answer to `SENTINEL MASTER`, if it gives one.
    pub(super) async fn state_at(
        &self,
        AskedSentinel { watcher, progress, .. }: &AskedSentinel<'_>,
    ) -> Option<Value> {
        let mut command = cmd("SENTINEL");
        command.arg("MASTER").arg(&*self.name);
        let query = Query {
            command: &command,
            limit: MASTER_LIMIT,
            expected: "the primary's state",
            part: "the primary's state at the Sentinels",
        };
        let aside = progress.beside(&watcher.name);
        let answer = timeout(self.second_look(), watcher.server.ask(&query, &aside)).await;
        answer.ok().and_then(Result::ok)
    }

    /// `true` if the server at this address reports the role of a primary.
    async fn is_primary(&self, address: &Address, beside: &NodeProgress) -> bool {
        let server = self.factory.redis(address, Requirement::Primary, &self.login, self.tls.as_ref());
        let Ok(server) = server else { return false };
        let aside = beside.beside(&self.factory.name(address));
        timeout(self.second_look(), server.answers(&aside)).await.is_ok_and(|answers| answers.is_some())
    }

    fn second_look(&self) -> Duration {
        budget::SENTINEL.of(self.factory.timeout())
    }
}

/// Reads an answer to `SENTINEL MASTER` ("SENTINEL MASTER" in "Redis Sentinel documentation", Sentinel commands).
pub(super) fn read(answer: &Value) -> NamedPrimary {
    let field = |name| value_of(answer, name).and_then(announced::text).filter(|text| !text.is_empty());
    NamedPrimary {
        epoch: field("config-epoch").and_then(|epoch| epoch.parse().ok()),
        run_id: field("runid").map(str::to_owned),
        is_primary: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(epoch: u64, run_id: &str, is_primary: bool) -> NamedPrimary {
        NamedPrimary { epoch: Some(epoch), run_id: Some(run_id.to_owned()), is_primary }
    }

    #[test]
    fn a_sentinel_is_late_only_with_an_older_configuration_and_a_server_that_is_no_primary() {
        let (chosen, soon) = (named(3, "new", true), Duration::from_secs(2));
        assert!(named(2, "old", false).is_late(&chosen, soon));
        assert!(!named(2, "old", false).is_late(&chosen, HEARSAY), "it would have heard");
        assert!(!named(2, "old", true).is_late(&chosen, soon), "both take writes");
        assert!(!named(3, "old", false).is_late(&chosen, soon), "no failover explains it");
        assert!(!named(4, "old", false).is_late(&chosen, soon));
        let silent = NamedPrimary { epoch: None, ..named(0, "old", false) };
        assert!(silent.is_late(&chosen, soon) && named(2, "old", false).is_late(&silent, soon));
        assert!(!silent.is_late(&chosen, HEARSAY));
    }

    #[test]
    fn two_addresses_of_one_server_are_the_same() {
        assert!(named(1, "one", true).is_same(&named(2, "one", false)));
        assert!(!named(1, "one", true).is_same(&named(1, "other", true)));
        let unknown = NamedPrimary::default();
        assert!(!unknown.is_same(&unknown));
    }

    #[test]
    fn the_state_of_a_primary_is_a_list_or_a_map() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let words = ["name", "mymaster", "runid", "5f3a", "flags", "master", "config-epoch", "7"];
        let list = Value::Array(words.iter().map(|word| bulk(word)).collect());
        let map = Value::Map(words.chunks(2).map(|pair| (bulk(pair[0]), bulk(pair[1]))).collect());
        for answer in [list, map] {
            assert_eq!(read(&answer), named(7, "5f3a", false));
        }
        let never_met = Value::Array(["runid", "", "config-epoch", "x"].map(bulk).to_vec());
        for answer in [never_met, Value::Okay, Value::Nil, Value::Array(vec![bulk("runid")])] {
            assert_eq!(read(&answer), NamedPrimary::default(), "{answer:?}");
        }
    }
}
