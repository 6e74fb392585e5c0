//! The server of a node that moves: the owner of a slot, and the primary that Sentinels name.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;

use crate::support::cluster::slot_of;
use crate::support::sentinel::NAME;
use crate::wire::{Connection, Reply};

/// The longest wait for one of several servers, of which another can answer too.
const ONE_OF_MANY: Duration = Duration::from_millis(300);

/// `MOVED 3999 127.0.0.1:6381`, or `ASK` in place of `MOVED`.
pub(crate) fn redirection(error: &str) -> Option<(SocketAddr, bool)> {
    let words: Vec<&str> = error.split(' ').collect();
    match words[..] {
        ["MOVED", _, addr] => Some((addr.parse().ok()?, false)),
        ["ASK", _, addr] => Some((addr.parse().ok()?, true)),
        _ => None,
    }
}

/// The owner of a slot, by the map of the first node that responds.
pub(crate) async fn owner_of(nodes: &[SocketAddr], tag: &str) -> Option<SocketAddr> {
    let slot = usize::from(slot_of(tag));
    let first = fastrand::usize(..nodes.len());
    for number in 0..nodes.len() {
        let node = nodes[(first + number) % nodes.len()];
        let asked = async { Connection::dial(node, None).await?.ask(&["CLUSTER", "SLOTS"]).await };
        if let Ok(Ok(Reply::Array(ranges))) = timeout(ONE_OF_MANY, asked).await {
            return ranges.iter().find_map(|range| owner_in(range, slot));
        }
    }
    None
}

/// The owner in an entry of `CLUSTER SLOTS`: first and last slot, then the owner's host, port and more.
fn owner_in(range: &Reply, slot: usize) -> Option<SocketAddr> {
    let Reply::Array(entry) = range else { return None };
    let [Reply::Text(first), Reply::Text(last), Reply::Array(owner), ..] = &entry[..] else { return None };
    let [Reply::Text(host), Reply::Text(port), ..] = &owner[..] else { return None };
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first..=last).contains(&slot).then(|| format!("{host}:{port}").parse().ok())?
}

/// The primaries that the Sentinels name, each by one; only as many as decide, if these are enough.
pub(crate) async fn named_by(sentinels: &[SocketAddr], decisive_is_enough: bool) -> Vec<SocketAddr> {
    let mut asked: FuturesUnordered<_> = sentinels.iter().map(|&sentinel| named(sentinel)).collect();
    let mut all = Vec::new();
    while let Some(named) = asked.next().await {
        all.extend(named);
        if decisive_is_enough && most(&all, sentinels.len()).is_some() {
            break;
        }
    }
    all
}

async fn named(sentinel: SocketAddr) -> Option<SocketAddr> {
    let asked = async {
        let mut connection = Connection::dial(sentinel, None).await?;
        connection.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]).await
    };
    let Ok(Ok(Reply::Array(primary))) = timeout(ONE_OF_MANY, asked).await else { return None };
    let [Reply::Text(host), Reply::Text(port)] = &primary[..] else { return None };
    format!("{host}:{port}").parse().ok()
}

/// The address that most of so many name.
pub(crate) fn most(named: &[SocketAddr], of: usize) -> Option<SocketAddr> {
    let votes = |address: &SocketAddr| named.iter().filter(|other| *other == address).count();
    named.iter().copied().find(|address| votes(address) > of / 2)
}
