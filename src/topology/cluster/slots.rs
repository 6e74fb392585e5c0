//! [`SlotMap`]: the owners of a cluster's slots, as reported by `CLUSTER SLOTS`, and the hash tags that put a key into
//! a slot. No I/O.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::ops::RangeInclusive;

use crc::{CRC_16_XMODEM, Crc};
use redis::Value;

use crate::config::{Address, Announce};
use crate::topology::announced;

/// The number of slots of a cluster ("Redis cluster specification", Key distribution model).
pub(super) const SLOTS: u16 = 16_384;

/// The most primaries that are checked; the specification recommends no more than about 1,000 nodes.
const MAX_PRIMARIES: usize = 1_000;

/// The most replicas of a primary that are remembered. They are only queried if a primary is lost.
const MAX_REPLICAS: usize = 8;

/// The most nodes of an entry that are read, with those that have no address.
const MOST_READ: usize = 4 * MAX_REPLICAS;

/// The number of primaries that are processed before the task yields.
pub(super) const AT_A_TIME: usize = 64;

/// An inclusive range of slots.
pub(super) type SlotRange = RangeInclusive<u16>;

/// The owners of slots.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SlotMap {
    /// The primaries that own slots, in the order of their first ones.
    pub(super) shards: Vec<Shard>,
    /// The slots of primaries that are announced without an address at which they can be dialed, in order.
    pub(super) lost: Vec<SlotRange>,
}

/// A primary, its replicas and its slots.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) primary: Address,
    pub(super) replicas: Vec<Address>,
    pub(super) ranges: Vec<SlotRange>,
}

/// A hash tag, and the slot into which it puts a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) text: String,
    pub(super) slot: u16,
}

/// The setting for announced addresses, and the host of the node that was asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnnouncedHosts<'a> {
    pub(super) announce: Announce,
    pub(super) asked: &'a str,
}

impl AnnouncedHosts<'_> {
    /// The address at which an announced node is dialed; `None` if there is none. A host that is null or empty means the
    /// node that was asked, and `?` means a node whose name is not known ("CLUSTER SLOTS", Nested result array).
    pub(super) fn address(self, announced: Option<&str>, port: u16) -> Option<Address> {
        let host = match (self.announce, announced) {
            (Announce::SeedHost, _) | (Announce::AsIs, None | Some("")) => self.asked,
            (Announce::AsIs, Some("?")) => return None,
            (Announce::AsIs, Some(host)) => host,
        };
        announced::tcp(host, port)
    }
}

/// A partially read map.
#[derive(Default)]
pub(super) struct SlotMapReading {
    map: SlotMap,
    /// The places of the primaries.
    places: HashMap<Address, usize>,
    claimed: Vec<SlotRange>,
    /// The error in an entry.
    wrong: Option<&'static str>,
}

impl SlotMapReading {
    /// Reads one entry of an answer to `CLUSTER SLOTS`.
    pub(super) fn add(&mut self, entry: &Value, hosts: AnnouncedHosts<'_>) {
        if self.wrong.is_none() {
            self.wrong = self.try_to_add(entry, hosts).err();
        }
    }

    fn try_to_add(&mut self, entry: &Value, hosts: AnnouncedHosts<'_>) -> Result<(), &'static str> {
        let (range, nodes) = parse_entry(entry, hosts)?;
        let mut nodes = nodes.take(MOST_READ).collect::<Result<Vec<_>, _>>()?.into_iter();
        let primary = nodes.next().ok_or(NO_NODE)?;
        self.claimed.push(range.clone());
        let Some(primary) = primary else {
            // Nobody can reach its slots, so they are as those that no primary owns.
            self.map.lost.push(range);
            return Ok(());
        };
        let replicas = nodes.flatten().take(MAX_REPLICAS).collect();
        let shards = &mut self.map.shards;
        if let Some(&place) = self.places.get(&primary) {
            shards[place].ranges.push(range);
            return Ok(());
        }
        if shards.len() == MAX_PRIMARIES {
            return Err("the answer to CLUSTER SLOTS has more than 1,000 primaries");
        }
        self.places.insert(primary.clone(), shards.len());
        shards.push(Shard { primary, replicas, ranges: vec![range] });
        Ok(())
    }

    /// The map made from the entries. The error describes the fault of the answer.
    pub(super) fn map(mut self, answer: &Value) -> Result<SlotMap, &'static str> {
        if !matches!(answer, Value::Array(_)) {
            return Err(NO_LIST);
        }
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        self.claimed.sort_by_key(|range| *range.start());
        if self.claimed.windows(2).any(|pair| pair[0].end() >= pair[1].start()) {
            return Err("the answer to CLUSTER SLOTS has two owners of a slot");
        }
        self.map.lost.sort_by_key(|range| *range.start());
        let shards = &mut self.map.shards;
        for shard in &mut *shards {
            shard.ranges.sort_by_key(|range| *range.start());
        }
        shards.sort_by_key(|shard| shard.ranges.first().map(|range| *range.start()));
        Ok(self.map)
    }
}

impl SlotMap {
    /// The number of entries of an answer from which it is made.
    pub(super) fn entries(&self) -> usize {
        self.shards.iter().map(|shard| shard.ranges.len()).sum()
    }

    /// The slots without an owner that can be dialed.
    pub(super) fn gaps(&self) -> Vec<SlotRange> {
        Self::between(self.shards.iter().flat_map(|shard| &shard.ranges).collect())
    }

    /// The slots without any owner.
    pub(super) fn unowned(&self) -> Vec<SlotRange> {
        Self::between(self.shards.iter().flat_map(|shard| &shard.ranges).chain(&self.lost).collect())
    }

    /// The slots that are in none of these ranges.
    fn between(mut owned: Vec<&SlotRange>) -> Vec<SlotRange> {
        owned.sort_by_key(|range| *range.start());
        let mut gaps = Vec::new();
        let mut next = 0;
        for range in owned {
            if next < *range.start() {
                gaps.push(next..=*range.start() - 1);
            }
            next = *range.end() + 1;
        }
        if next < SLOTS {
            gaps.push(next..=SLOTS - 1);
        }
        gaps
    }

    /// Takes slots from a primary that does not claim them itself, since it refuses their keys, whatever the other nodes
    /// report.
    pub(super) fn deny(&mut self, primary: &Address, unowned: &[SlotRange]) {
        for shard in self.shards.iter_mut().filter(|shard| shard.primary == *primary) {
            let kept = shard.ranges.iter().flat_map(|range| without(range, unowned)).collect();
            shard.ranges = kept;
        }
        self.shards.retain(|shard| !shard.ranges.is_empty());
    }

    /// For each shard, the number of tags in `wanted`, of slots that it owns; fewer if it has fewer slots. Slots in
    /// `avoided` are used only if it has no others.
    pub(super) fn tags(&self, wanted: &[usize], avoided: &BTreeSet<u16>) -> Vec<Vec<Tag>> {
        let mut owners = vec![None; usize::from(SLOTS)];
        let mut missing = wanted.to_vec();
        for (place, shard) in self.shards.iter().enumerate() {
            let slots = || shard.ranges.iter().flat_map(Clone::clone);
            let mut free: Vec<u16> = slots().filter(|slot| !avoided.contains(slot)).collect();
            if free.is_empty() {
                free = slots().collect();
            }
            missing[place] = missing[place].min(free.len());
            for slot in free {
                owners[usize::from(slot)] = Some(place);
            }
        }
        let mut tags = vec![Vec::new(); self.shards.len()];
        let mut left: usize = missing.iter().sum();
        let mut text = String::new();
        for number in 0..TAGS {
            if left == 0 {
                break;
            }
            text.clear();
            // Writing to a `String` cannot fail.
            let _ = write!(text, "{number}");
            let slot = slot(&text);
            if let Some(place) = owners[usize::from(slot)]
                && missing[place] > 0
            {
                // One tag per slot.
                owners[usize::from(slot)] = None;
                tags[place].push(Tag { text: text.clone(), slot });
                missing[place] -= 1;
                left -= 1;
            }
        }
        tags
    }
}

impl Shard {
    /// The number of slots that it owns.
    pub(super) fn len(&self) -> usize {
        self.ranges.iter().map(ExactSizeIterator::len).sum()
    }

    /// `true` if it owns this slot.
    pub(super) fn owns(&self, slot: u16) -> bool {
        self.ranges.iter().any(|range| range.contains(&slot))
    }
}

/// The rest of a range without the others, which are in order and disjoint.
fn without(range: &SlotRange, others: &[SlotRange]) -> Vec<SlotRange> {
    let (mut next, end) = (u32::from(*range.start()), u32::from(*range.end()));
    let mut left = Vec::new();
    let mut keep = |from: u32, to: u32| {
        if let (Ok(from), Ok(to)) = (u16::try_from(from), u16::try_from(to))
            && from <= to
        {
            left.push(from..=to);
        }
    };
    for other in others {
        let (first, last) = (u32::from(*other.start()), u32::from(*other.end()));
        if last < next || first > end {
            continue;
        }
        if first > next {
            keep(next, first - 1);
        }
        next = last + 1;
    }
    keep(next, end);
    left
}

/// The number of tags that is enough to reach every slot; a test verifies it.
const TAGS: u32 = 1 << 17;

/// The slot of a key without braces ("Redis cluster specification", Key distribution model).
pub(super) fn slot(key: impl AsRef<[u8]>) -> u16 {
    const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);
    CRC.checksum(key.as_ref()) % SLOTS
}

/// The slot of any key: of one with a hash tag, that of the tag ("Redis cluster specification", Hash tags).
pub(super) fn slot_of_key(key: &[u8]) -> u16 {
    let tag = key.iter().position(|&byte| byte == b'{').and_then(|open| {
        let tag = &key[open + 1..];
        let close = tag.iter().position(|&byte| byte == b'}')?;
        (close > 0).then(|| &tag[..close])
    });
    slot(tag.unwrap_or(key))
}

/// `slots 0-99, 5461-10922`, as many of them as fit into a fault's words.
pub(super) fn list(ranges: &[SlotRange]) -> String {
    const SHOWN: usize = 8;
    let mut said = "slots ".to_owned();
    for (place, range) in ranges.iter().take(SHOWN).enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        let (start, end) = (range.start(), range.end());
        // Writing to a `String` cannot fail.
        let _ =
            if start == end { write!(said, "{comma}{start}") } else { write!(said, "{comma}{start}-{end}") };
    }
    if ranges.len() > SHOWN {
        let _ = write!(said, " and {} more ranges", ranges.len() - SHOWN);
    }
    said
}

const NO_LIST: &str = "the answer to CLUSTER SLOTS is not a list of slots";
const NO_NODE: &str = "the answer to CLUSTER SLOTS has slots without a primary";
const NO_ADDRESS: &str = "the answer to CLUSTER SLOTS has a node without an address";

/// One entry: the range, then the primary and the replicas.
fn parse_entry<'a>(
    entry: &'a Value,
    hosts: AnnouncedHosts<'a>,
) -> Result<(SlotRange, impl Iterator<Item = Result<Option<Address>, &'static str>> + 'a), &'static str> {
    let Value::Array(entry) = entry else { return Err(NO_LIST) };
    let [Value::Int(start), Value::Int(end), nodes @ ..] = entry.as_slice() else { return Err(NO_LIST) };
    let number = |number: i64| u16::try_from(number).ok().filter(|&slot| slot < SLOTS);
    let (Some(start), Some(end)) = (number(*start), number(*end)) else { return Err(NO_LIST) };
    if start > end {
        return Err(NO_LIST);
    }
    Ok((start..=end, nodes.iter().map(move |node| parse_node(node, hosts))))
}

/// One node: its host, its port, and fields that are not needed here. `None` if they are no address: a node that lost its
/// state has an empty host and port 0 until the others forget it.
fn parse_node(node: &Value, hosts: AnnouncedHosts<'_>) -> Result<Option<Address>, &'static str> {
    let Value::Array(node) = node else { return Err(NO_ADDRESS) };
    let [host, Value::Int(port), ..] = node.as_slice() else { return Err(NO_ADDRESS) };
    let host = match host {
        Value::Nil => None,
        host => Some(announced::text(host).ok_or(NO_ADDRESS)?),
    };
    Ok(u16::try_from(*port).ok().and_then(|port| hosts.address(host, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AS_IS: AnnouncedHosts<'_> = AnnouncedHosts { announce: Announce::AsIs, asked: "seed" };

    fn parse(answer: &Value, hosts: AnnouncedHosts<'_>) -> Result<SlotMap, &'static str> {
        let mut reading = SlotMapReading::default();
        if let Value::Array(entries) = answer {
            for entry in entries {
                reading.add(entry, hosts);
            }
        }
        reading.map(answer)
    }

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn node(host: Value, port: i64) -> Value {
        let metadata = Value::Map(vec![(bulk("hostname"), bulk("redis-0"))]);
        Value::Array(vec![host, Value::Int(port), bulk("5f3a"), metadata])
    }

    fn entry(start: i64, end: i64, nodes: impl IntoIterator<Item = Value>) -> Value {
        Value::Array([Value::Int(start), Value::Int(end)].into_iter().chain(nodes).collect())
    }

    fn address(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.to_owned(), port }
    }

    /// A map in which `one`, `two` and `three` own a third each.
    fn thirds() -> SlotMap {
        let entries = [(10_923, 16_383, "three"), (0, 5_460, "one"), (5_461, 10_922, "two")]
            .map(|(start, end, host)| entry(start, end, [node(bulk(host), 1), node(bulk(host), 2)]));
        parse(&Value::Array(entries.to_vec()), AS_IS).unwrap()
    }

    #[test]
    fn a_key_is_in_the_slot_that_the_specification_says() {
        // "Redis cluster specification", Appendix A: the CRC16 of 123456789 is 0x31C3.
        assert_eq!(slot("123456789"), 0x31c3);
        assert_eq!(slot("foo"), 12_182);
    }

    #[test]
    fn every_slot_has_a_tag() {
        let entries: Vec<_> = (0..1_000)
            .map(|place| {
                let end = if place == 999 { 16_383 } else { place * 16 + 15 };
                entry(place * 16, end, [node(bulk("one"), place + 1)])
            })
            .collect();
        let map = parse(&Value::Array(entries), AS_IS).unwrap();
        let tags = map.tags(&[16_384; 1_000], &BTreeSet::new());
        assert_eq!(tags.iter().map(Vec::len).sum::<usize>(), usize::from(SLOTS));
    }

    #[test]
    fn tags_are_of_slots_that_their_primary_owns_and_not_of_those_to_avoid() {
        let map = thirds();
        let first = map.tags(&[1, 0, 3], &BTreeSet::new());
        assert_eq!(first.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 3]);
        for (shard, tags) in map.shards.iter().zip(&first) {
            assert!(tags.iter().all(|tag| slot(&tag.text) == tag.slot && shard.owns(tag.slot)), "{tags:?}");
        }
        let avoided = BTreeSet::from([first[0][0].slot]);
        assert_ne!(map.tags(&[1, 0, 0], &avoided)[0], first[0]);
        let all_avoided: BTreeSet<u16> = (0..=5_460).collect();
        assert_eq!(map.tags(&[1, 0, 0], &all_avoided)[0], first[0], "it has no others");
    }

    #[test]
    fn the_owners_are_in_the_order_of_their_slots() {
        let map = thirds();
        let primaries: Vec<_> = map.shards.iter().map(|shard| shard.primary.to_string()).collect();
        assert_eq!(primaries, ["one:1", "two:1", "three:1"]);
        assert_eq!(map.shards[1].replicas, [address("two", 2)]);
        assert_eq!(map.gaps(), []);
    }

    #[test]
    fn the_hash_tag_of_a_key_is_the_first_pair_of_braces_if_there_is_something_in_it() {
        let same = |key: &str, tag: &str| slot_of_key(key.as_bytes()) == slot(tag);
        assert!(same("{user1000}.following", "user1000") && same("foo{bar}{zap}", "bar"));
        assert!(same("foo{}{bar}", "foo{}{bar}") && same("foo{{bar}}zap", "{bar") && same("foo{", "foo{"));
    }

    #[test]
    fn slots_without_an_owner_are_found_and_listed() {
        let entries = [(1, 99), (101, 16_000)].map(|(from, to)| entry(from, to, [node(bulk("one"), 1)]));
        let map = parse(&Value::Array(entries.to_vec()), AS_IS).unwrap();
        assert_eq!(map.shards.len(), 1);
        assert_eq!(map.gaps(), [0..=0, 100..=100, 16_001..=16_383]);
        assert_eq!(list(&map.gaps()), "slots 0, 100, 16001-16383");
        assert_eq!(SlotMap::default().gaps(), [0..=16_383]);
        let many: Vec<SlotRange> = (0..20).map(|slot| slot * 2..=slot * 2).collect();
        assert_eq!(list(&many), "slots 0, 2, 4, 6, 8, 10, 12, 14 and 12 more ranges");
    }

    #[test]
    fn slots_that_their_owner_does_not_know_of_have_no_owner() {
        let mut map = thirds();
        let two = address("two", 1);
        map.deny(&two, &[0..=100, 5_461..=5_500, 6_000..=6_000, 10_900..=11_000]);
        assert_eq!(map.shards[1].ranges, [5_501..=5_999, 6_001..=10_899]);
        assert_eq!(map.gaps(), [5_461..=5_500, 6_000..=6_000, 10_900..=10_922]);
        map.deny(&two, &[0..=16_383]);
        assert_eq!(map.gaps(), [5_461..=10_922]);
        assert_eq!(map.shards.len(), 2);
    }

    #[test]
    fn a_host_that_is_not_announced_is_the_one_that_was_asked() {
        for host in [Value::Nil, bulk("")] {
            let entry = entry(0, 16_383, [node(host, 7)]);
            let map = parse(&Value::Array(vec![entry]), AS_IS).unwrap();
            assert_eq!(map.shards[0].primary, address("seed", 7));
        }
        let seed_host = AnnouncedHosts { announce: Announce::SeedHost, ..AS_IS };
        assert_eq!(seed_host.address(Some("10.0.0.9"), 7), Some(address("seed", 7)));
    }

    #[test]
    fn a_node_without_an_address_hides_no_other_one() {
        let unusable = || {
            let long = "a".repeat(254);
            [("", 0), ("?", 7), ("one", 0), ("one", 65_536), ("one", -1), ("a b", 1), (long.as_str(), 1)]
                .map(|(host, port)| node(bulk(host), port))
                .into_iter()
                .chain([node(Value::Nil, 0)])
                .collect::<Vec<_>>()
        };
        let replicas = unusable().into_iter().chain([node(bulk("two"), 2)]);
        let healthy = entry(0, 99, [node(bulk("one"), 1)].into_iter().chain(replicas));
        for lost in unusable() {
            let answer = Value::Array(vec![entry(100, 16_383, [lost]), healthy.clone()]);
            let map = parse(&answer, AS_IS).unwrap();
            assert_eq!((map.shards.len(), map.gaps()), (1, vec![100..=16_383]), "{answer:?}");
            assert_eq!((&*map.lost, map.unowned()), (&[100..=16_383][..], vec![]));
            assert_eq!(map.shards[0].replicas, [address("two", 2)]);
        }
        let seed_host = AnnouncedHosts { announce: Announce::SeedHost, ..AS_IS };
        assert_eq!(seed_host.address(Some("?"), 7), Some(address("seed", 7)));
    }

    #[test]
    fn a_value_that_is_no_slot_map_is_refused() {
        let good = || node(bulk("one"), 1);
        for wrong in [
            Value::Okay,
            Value::Array(vec![Value::Nil]),
            Value::Array(vec![Value::Array(Vec::new())]),
            Value::Array(vec![entry(0, 16_384, [good()])]),
            Value::Array(vec![entry(-1, 5, [good()])]),
            Value::Array(vec![entry(7, 5, [good()])]),
            Value::Array(vec![entry(0, 5, [])]),
            Value::Array(vec![entry(0, 5, [Value::Nil])]),
            Value::Array(vec![entry(0, 5, [node(Value::Okay, 1)])]),
            Value::Array(vec![entry(0, 5, [good()]), entry(5, 9, [node(bulk("two"), 1)])]),
            Value::Array((0..1_001).map(|slot| entry(slot, slot, [node(bulk("one"), slot + 1)])).collect()),
        ] {
            assert!(parse(&wrong, AS_IS).is_err(), "{wrong:?}");
        }
    }
}
