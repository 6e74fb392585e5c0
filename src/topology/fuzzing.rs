//! The properties of what servers say of other servers.

#![allow(clippy::panic, clippy::missing_panics_doc, reason = "a property that does not hold panics")]

use super::{cluster, replicas, sentinel};
use crate::cache::redis::fuzzing::value;
use crate::config::Address;

/// Answers that name servers: `CLUSTER SLOTS`, `CLUSTER NODES`, `CLUSTER INFO`, redirections, Sentinels' answers and `ROLE`. The
/// first byte of the input is ignored, so that inputs of `resp` will do.
///
/// Every server that is named can be dialed. A slot has one owner or none, and a map is read as it was written. A node
/// does not contradict itself.
pub fn topology(input: &[u8]) {
    let Some(value) = input.get(1..).and_then(value) else { return };
    cluster::fuzzing::cluster(&value);
    sentinel::fuzzing::sentinel(&value);
    replicas::named(&value).iter().flatten().for_each(expect_dialable);
}

pub(super) fn expect_dialable(address: &Address) {
    let Address::Tcp { host, port } = address else { panic!("a server is not at {address}") };
    assert!((1..=253).contains(&host.len()) && host.bytes().all(|byte| byte.is_ascii_graphic()), "{host:?}");
    assert_ne!(*port, 0);
}
