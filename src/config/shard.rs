//! `shard`: the part of the aliases that one of several replicas checks, by rendezvous hashing.

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

use ring::digest::{SHA256, digest};

use super::cache::Elsewhere;
use super::keys;
use super::place::ConfigProblem;
use super::reader::ConfigReader;
use super::value::{Value, unless};
use crate::alias::Alias;

/// The most shards. The shard of an alias is found by one hash for each of them.
const MOST: u32 = 1000;

const BOTH: &str = "a shard needs both `index` and `of`, as in shard = { index = \"${POD_INDEX}\", of = 5 }";
const NO_FLEET: &str = "`shard` cannot be combined with `fleet`: each alias is checked by one replica, so no other has its \
                        results; remove one of the two";

/// The shard of this replica, and what is known of the others.
#[derive(Clone, PartialEq, Eq)]
pub struct Shard {
    /// The number of this shard, from 0.
    pub index: u32,
    /// The number of shards.
    pub of: u32,
    /// The number of its aliases.
    pub aliases: usize,
    /// The number of aliases of all shards.
    pub configured: usize,
    /// The shard of each alias of another one, by the hash of its name, in order. All shards together may have ten
    /// times as many aliases as this one, so their names are not kept.
    elsewhere: Arc<[(u64, u32)]>,
}

impl Shard {
    /// A shard that has no aliases yet.
    #[must_use]
    pub fn new(index: u32, of: u32) -> Self {
        Self { index, of, aliases: 0, configured: 0, elsewhere: Arc::default() }
    }

    /// The number of the shard that has an alias.
    pub(super) fn of(&self, alias: &Alias) -> u32 {
        shard_of(alias, self.of)
    }

    /// The shard that has this alias, or the alias of this check such as `main.queue`, if it is another one.
    #[must_use]
    pub fn elsewhere(&self, name: &str) -> Option<u32> {
        let find = |name: &str| {
            let hash = hash(name.as_bytes());
            let place = self.elsewhere.binary_search_by_key(&hash, |&(hash, _)| hash).ok()?;
            Some(self.elsewhere[place].1)
        };
        find(name).or_else(|| find(name.rsplit_once('.')?.0))
    }

    /// Takes over what has come of the aliases: the number of its own, and those of the others.
    pub(super) fn fill(&mut self, own: usize, others: &[Elsewhere]) {
        let mut elsewhere: Vec<_> =
            others.iter().map(|other| (hash(other.alias.as_str().as_bytes()), other.shard)).collect();
        elsewhere.sort_unstable();
        (self.aliases, self.configured) = (own, own + others.len());
        self.elsewhere = elsewhere.into();
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, of, aliases, configured, elsewhere: _ } = self;
        write!(f, "Shard({index} of {of}, {aliases} of {configured} aliases)")
    }
}

/// The shard that has an alias: the one whose score is the highest, as in "Using name-based mappings to increase hit rates"
/// (Thaler and Ravishankar, 1998). A further shard takes aliases from all others and moves none between them.
///
/// The score of shard 3 for `main` is the first eight bytes of the SHA-256 of `main/3`, as a big-endian number. It is the
/// same in every version, since two replicas of different versions must not choose differently.
fn shard_of(alias: &Alias, of: u32) -> u32 {
    let mut text = format!("{alias}/");
    let stem = text.len();
    let mut score = |index: u32| {
        text.truncate(stem);
        text.push_str(itoa::Buffer::new().format(index));
        hash(text.as_bytes())
    };
    (0..of).max_by_key(|&index| (score(index), Reverse(index))).unwrap_or_default()
}

/// The first eight bytes of a SHA-256, as a big-endian number.
fn hash(text: &[u8]) -> u64 {
    digest(&SHA256, text).as_ref().iter().take(8).fold(0, |hash, &byte| hash << 8 | u64::from(byte))
}

/// `shard`, before any cache is read.
pub(super) fn read(reader: &mut ConfigReader) -> Option<Shard> {
    let place = reader.table.get("shard")?.place.clone();
    let section = reader.section("shard", keys::OWN_SHARD);
    let of = reader.said(&section, "of", |value| value.number_between("of", 1, MOST));
    let index = reader.said(&section, "index", |value| index(value, of));
    if ["index", "of"].iter().any(|key| section.table.get(key).is_none()) {
        reader.problems.push(place.problem(BOTH));
    }
    if let Some(fleet) = reader.table.get("fleet") {
        let problem = fleet.problem(NO_FLEET);
        reader.problems.push(problem);
    }
    Some(Shard::new(index?, of?))
}

/// The number of a shard, which is below `of`.
fn index(value: &Value, of: Option<u32>) -> Result<u32, ConfigProblem> {
    let index = value.number()?;
    let Some(of) = of else { return Ok(index) };
    unless(
        index >= of,
        value,
        format_args!(
            "`index` must be from 0 to {}, because `of` is {of}; raise `of` to the number of replicas",
            of - 1
        ),
    )?;
    Ok(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(name: &str) -> Alias {
        Alias::try_from(name).unwrap()
    }

    /// The numbers are those of `printf main/3 | sha256sum` and so on.
    #[test]
    fn the_shard_of_an_alias_is_the_same_in_every_version() {
        assert_eq!(hash(b"main/0"), 0x699b_0520_e8df_befe);
        let shards = |name: &str| [1, 2, 5, 10, 11, 1000].map(|of| shard_of(&alias(name), of));
        assert_eq!(shards("main"), [0, 1, 1, 9, 9, 264]);
        assert_eq!(shards("sessions"), [0, 1, 2, 5, 5, 563]);
        assert_eq!(shards("team-a.cache_1"), [0, 1, 1, 1, 1, 177]);
    }

    #[test]
    fn a_further_shard_takes_its_part_from_all_others_and_moves_nothing_between_them() {
        const ALIASES: u32 = 20_000;
        for of in [1, 2, 5, 10] {
            let (mut moved, mut counts) = (0, vec![0_u32; of as usize]);
            for number in 0..ALIASES {
                let alias = alias(&format!("alias-{number}"));
                let (before, after) = (shard_of(&alias, of), shard_of(&alias, of + 1));
                counts[before as usize] += 1;
                if before != after {
                    assert_eq!(after, of, "{alias} moves to the new shard");
                    moved += 1;
                }
            }
            let about = |count: u32, shards: u32| {
                let expected = f64::from(ALIASES) / f64::from(shards);
                (f64::from(count) / expected - 1.0).abs() < 0.1
            };
            assert!(about(moved, of + 1), "from {of} shards {moved} move");
            assert!(counts.iter().all(|&count| about(count, of)), "{counts:?}");
        }
    }

    #[test]
    fn an_alias_of_another_shard_is_known_by_its_name_and_by_its_checks() {
        let other = |name: &str, shard| Elsewhere { alias: alias(name), kinds: Vec::new(), shard };
        let mut shard = Shard::new(0, 5);
        shard.fill(3, &[other("main", 4), other("a.b", 2), other("sessions", 1)]);
        assert_eq!((shard.aliases, shard.configured), (3, 6));
        assert_eq!(shard.elsewhere("main"), Some(4));
        assert_eq!(shard.elsewhere("main.queue"), Some(4));
        assert_eq!(shard.elsewhere("a.b"), Some(2));
        assert_eq!(shard.elsewhere("a"), None);
        assert_eq!(shard.elsewhere("mine"), None);
    }
}
