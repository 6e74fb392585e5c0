//! The properties of what a cluster's nodes say.

use std::collections::BTreeSet;

use redis::Value;

use super::consensus::NodeMap;
use super::redirect::Redirect;
use super::slots::{AnnouncedHosts, SLOTS, Shard, SlotMap, SlotMapReading, SlotRange, slot};
use super::view::ClusterInfo;
use crate::config::{Address, Announce};
use crate::redaction;
use crate::topology::announced;
use crate::topology::consensus::Account as _;
use crate::topology::fuzzing::expect_dialable;

const HOSTS: AnnouncedHosts<'_> = AnnouncedHosts { announce: Announce::AsIs, asked: "seed" };

pub(in crate::topology) fn cluster(answer: &Value) {
    if let Ok(map) = read(answer) {
        partition(&map);
        let written = Value::Array(map.shards.iter().flat_map(write).collect());
        assert_eq!(read(&written).map(|again| again.shards), Ok(map.shards), "it is read as it was written");
    }
    if let Some(info) = ClusterInfo::parse(answer) {
        assert!(info.agrees(&info));
    }
    let name = |address: &Address| address.to_string().into();
    if let Some(map) = announced::text(answer).and_then(|text| NodeMap::parse(text, HOSTS, name)) {
        map.replicas.iter().for_each(expect_dialable);
        assert_eq!(map.differences(&map), [], "it contradicts itself");
    }
    if let Value::ServerError(error) = answer
        && let Some(Redirect::Ask(_, address)) = Redirect::of_words(&redaction::line(error), HOSTS)
    {
        expect_dialable(&address);
    }
}

fn read(answer: &Value) -> Result<SlotMap, &'static str> {
    let mut reading = SlotMapReading::default();
    if let Value::Array(entries) = answer {
        for entry in entries {
            reading.add(entry, HOSTS);
        }
    }
    reading.map(answer)
}

/// The entries of a primary, each with the same nodes.
fn write(shard: &Shard) -> Vec<Value> {
    let node = |address: &Address| match address {
        Address::Tcp { host, port } => {
            Value::Array(vec![Value::BulkString(host.clone().into()), Value::Int((*port).into())])
        }
        Address::Unix(_) => Value::Nil,
    };
    let nodes: Vec<_> = std::iter::once(&shard.primary).chain(&shard.replicas).map(node).collect();
    let entry = |range: &SlotRange| {
        let ends = [*range.start(), *range.end()].map(|slot| Value::Int(slot.into()));
        Value::Array(ends.into_iter().chain(nodes.clone()).collect())
    };
    shard.ranges.iter().map(entry).collect()
}

/// Each slot is one primary's, or one of a primary without an address, or nobody's.
fn partition(map: &SlotMap) {
    let owned = || map.shards.iter().flat_map(|shard| &shard.ranges);
    let (gaps, unowned) = (map.gaps(), map.unowned());
    for ranges in
        [owned().chain(&gaps).collect::<Vec<_>>(), owned().chain(&map.lost).chain(&unowned).collect()]
    {
        let slots: Vec<u16> = ranges.into_iter().flat_map(Clone::clone).collect();
        assert_eq!(slots.len(), usize::from(SLOTS));
        assert_eq!(slots.into_iter().collect::<BTreeSet<_>>().last(), Some(&(SLOTS - 1)));
    }
    for shard in &map.shards {
        assert!(!shard.ranges.is_empty() && shard.replicas.len() <= 8);
        std::iter::once(&shard.primary).chain(&shard.replicas).for_each(expect_dialable);
    }
    for (shard, tags) in map.shards.iter().zip(map.tags(&vec![1; map.shards.len()], &BTreeSet::new())) {
        assert_eq!(tags.len(), 1);
        assert!(tags.iter().all(|tag| slot(&tag.text) == tag.slot && shard.owns(tag.slot)));
    }
}
