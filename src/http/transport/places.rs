//! [`Places`]: the bound on open connections, and the choice of those that close to make room.
//!
//! A new connection always gets a place while another peer holds more than an equal share. When all places are taken, a
//! connection of such a peer is closed: the oldest with an unfinished head, else the one that has been idle for longest,
//! else one that does not take its answer.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::warn;

use super::caller::Caller;
use super::idle_timeout::{ConnectionSnapshot, ConnectionState, IdleTimeout, STALLED, Wait};
use super::limits::ServerLimits;
use super::unread::{HeldRequest, HeldText, UnreadTexts};

use crate::mutex::Mutex;
use crate::telemetry::CALLERS;

/// The time in which a peer that `access.allow` excludes must send its request, and take the refusal.
const EXCLUDED_WAIT: Duration = Duration::from_secs(1);

/// The most connections of such peers at a time.
const EXCLUDED: usize = 16;

/// One place in this many is kept for loopback and unix sockets, so that a flood from the network leaves the probes of
/// this host alone.
const KEPT_FOR_LOOPBACK: usize = 16;

/// The most connections of HTTP/2 at a time. Each has 30 kB of buffers (`h2`'s codec).
const HTTP2: usize = 128;

/// The number of open connections above which an idle one gives its buffers back at once.
const CROWD: usize = 64;

/// When all places are taken, one in this many is made free.
const LOOKED_AT_FOR_EACH: usize = 64;

/// The highest [`rank`] of a connection that can be closed without loss: an idle or a slow one.
const NOT_MISSED: u8 = 1;

/// The most times in [`CHURN_EVERY`] that room is made for peers that have their share.
const CHURN: usize = 64;
const CHURN_EVERY: Duration = Duration::from_secs(1);

/// The least time between two warnings that connections are closed for want of places.
const WARN_EVERY: Duration = Duration::from_mins(1);

/// The most pairs of a peer and a protocol of which the log tells within that time.
const FOREIGN_LOGS: usize = 64;

named! {
    /// The reason why a connection was closed or a response refused. A closed list: the names are labels of metrics.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Reason {
        /// Its head was not complete when its place was needed.
        SlowHead = "slow_head",
        /// It was idle when its place was needed.
        Idle = "idle",
        /// Its client did not take an answer while its place, or the memory, was needed.
        Unread = "unread",
        /// Its peer held more than an equal share when a peer with less came.
        Share = "share",
        /// It came when every place was taken by connections that could not be closed.
        Full = "full",
    }
}

/// The other end, for an equal share: an address of IPv4, a network of IPv6 (/64, which one host may own), or a unix
/// socket.
type Peer = Option<IpAddr>;

/// The peer of `caller`.
fn peer_of(caller: Caller) -> Peer {
    match caller {
        Caller::Remote(ip) => Some(match ip.to_canonical() {
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            ip @ IpAddr::V4(_) => ip,
        }),
        Caller::Local | Caller::Unknown => None,
    }
}

/// The places of one server's connections.
#[derive(Debug)]
pub(crate) struct Places {
    limits: ServerLimits,
    table: Mutex<ConnectionTable>,
    /// The unread answers on them.
    pub(super) unread: Arc<UnreadTexts>,
    refused: [AtomicU64; Reason::ALL.len()],
    /// Notified when a connection has given memory back.
    released: Arc<Notify>,
    /// The refusals of other protocols that were logged, by peer and name.
    foreign: Mutex<HashMap<(Peer, &'static str), ForeignLog>>,
}

/// The last line of the log on one peer's use of a protocol, and the number of refusals since then.
#[derive(Debug)]
struct ForeignLog {
    told: Instant,
    untold: u64,
}

#[derive(Debug, Default)]
struct ConnectionTable {
    open: Vec<OpenConnection>,
    /// The number of them that each peer has.
    shares: HashMap<Peer, usize>,
    /// The number that was closed for peers with their share, in the second that began then.
    churn: Option<(Instant, usize)>,
    warned: Option<Instant>,
    /// The number closed or refused since the last warning.
    untold: u64,
}

/// The places of all of a program's listeners: those for everything, for probes alone and for metrics alone.
#[derive(Debug, Clone)]
pub(crate) struct Traffic(Arc<[Arc<Places>; 3]>);

impl Traffic {
    /// Places with these limits.
    pub(crate) fn new(limits: [ServerLimits; 3]) -> Self {
        let released = Arc::new(Notify::new());
        Self(Arc::new(limits.map(|limits| Places::new(limits, released.clone()))))
    }

    pub(crate) fn places(&self) -> [Arc<Places>; 3] {
        (*self.0).clone()
    }

    /// Waits until a connection has given memory back.
    pub(crate) async fn released(&self) {
        self.0[0].released.notified().await;
    }

    /// The number of connections in this state.
    pub(crate) fn connections(&self, state: ConnectionState) -> usize {
        self.0.iter().map(|places| places.count(state)).sum()
    }

    /// The number of connections closed and answers refused for this reason.
    pub(crate) fn refused(&self, reason: Reason) -> u64 {
        self.0.iter().map(|places| places.refused(reason)).sum()
    }
}

/// A connection that has a place.
#[derive(Debug)]
struct OpenConnection {
    peer: Peer,
    /// `true` if it comes from the network, not from this host.
    is_remote: bool,
    /// `true` if the peer is denied.
    is_excluded: bool,
    idle_timeout: Arc<IdleTimeout>,
}

/// A class of connections, with fewer places than there are in all.
struct Class {
    most: usize,
    holds: fn(&OpenConnection) -> bool,
}

impl Places {
    fn new(limits: ServerLimits, released: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            limits,
            unread: UnreadTexts::new(limits.unread_bytes),
            table: Mutex::default(),
            refused: Default::default(),
            released,
            foreign: Mutex::default(),
        })
    }

    pub(super) fn limits(&self) -> ServerLimits {
        self.limits
    }

    /// Notes that a connection has given memory back.
    pub(super) fn release(&self) {
        self.released.notify_one();
    }

    /// A place for a connection of `caller`, or none. A denied peer has one for as long as it takes to get the refusal.
    pub(super) fn admit(self: &Arc<Self>, caller: Caller, is_excluded: bool) -> Option<ConnectionPlace> {
        let ServerLimits { head, idle, connections, .. } = self.limits;
        let wait =
            if is_excluded { Wait { head: EXCLUDED_WAIT, idle: EXCLUDED_WAIT } } else { Wait { head, idle } };
        let peer = peer_of(caller);
        let is_remote = peer.is_some_and(|peer| !peer.is_loopback());
        let open =
            OpenConnection { peer, is_remote, is_excluded, idle_timeout: Arc::new(IdleTimeout::begin(wait)) };
        let classes = [
            Class { most: EXCLUDED.min(connections), holds: |open| open.is_excluded },
            Class {
                most: connections - connections.div_ceil(KEPT_FOR_LOOPBACK),
                holds: |open| open.is_remote,
            },
            Class { most: connections, holds: |_| true },
        ];
        let mut table = self.table.lock();
        for class in classes.iter().filter(|class| (class.holds)(&open)) {
            if !self.make_room(&mut table, class, peer) {
                self.refuse(&mut table, Reason::Full, peer);
                return None;
            }
        }
        let idle_timeout = open.idle_timeout.clone();
        table.add(open);
        Some(ConnectionPlace { places: self.clone(), idle_timeout })
    }

    /// Closes connections of `class` if that is full; `true` if there is room then.
    fn make_room(&self, table: &mut ConnectionTable, class: &Class, newcomer: Peer) -> bool {
        let members = || table.open.iter().enumerate().filter(|(_, open)| (class.holds)(open));
        if members().count() < class.most {
            return true;
        }
        let share = table.shares.get(&newcomer).copied().unwrap_or_default();
        let peers = table.shares.len() + usize::from(share == 0);
        let fair = (class.most / peers).max(1);
        let is_short_of_share = share < fair;
        let now = Instant::now();
        if !is_short_of_share && peers > 1 && !may_churn(&mut table.churn, now) {
            return false;
        }
        let members = || table.open.iter().enumerate().filter(|(_, open)| (class.holds)(open));
        let mut shares = table.shares.clone();
        let mut candidates: Vec<_> = members()
            .filter(|(_, open)| shares[&open.peer] >= fair)
            .map(|(place, open)| (rank(open.idle_timeout.snapshot(), now), place))
            .collect();
        candidates.sort_unstable_by_key(|&((rank, _), place)| (rank, place));
        // Several are closed at once if they can be closed without loss: a flood is faster than a search for each.
        let at_once = (class.most / LOOKED_AT_FOR_EACH).max(1);
        let mut chosen = Vec::with_capacity(at_once);
        for (((urgency, _), reason), place) in candidates {
            let held = shares.entry(table.open[place].peer).or_default();
            let may_be_closed = match reason {
                Reason::Share => *held > fair && is_short_of_share,
                Reason::SlowHead | Reason::Idle | Reason::Unread | Reason::Full => *held >= fair,
            };
            let is_missed = urgency > NOT_MISSED && !chosen.is_empty();
            if chosen.len() == at_once || is_missed {
                break;
            }
            if may_be_closed {
                *held -= 1;
                chosen.push((place, reason));
            }
        }
        chosen.sort_unstable_by_key(|&(place, _)| Reverse(place));
        for &(place, reason) in &chosen {
            self.close(table, place, reason);
        }
        !chosen.is_empty()
    }

    /// Closes the connection at this place of the table.
    fn close(&self, table: &mut ConnectionTable, place: usize, reason: Reason) {
        let open = table.remove(place);
        open.idle_timeout.close();
        self.refuse(table, reason, open.peer);
    }

    /// Counts a connection that was closed or refused, and warns the operator, but not of each.
    fn refuse(&self, table: &mut ConnectionTable, reason: Reason, peer: Peer) {
        self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
        table.untold += 1;
        if table.warned.is_some_and(|warned| warned.elapsed() < WARN_EVERY) {
            return;
        }
        table.warned = Some(Instant::now());
        let peer = peer.map_or_else(|| "a unix socket".to_owned(), |peer| peer.to_string());
        warn!(
            "closed a connection from {peer} to make room ({}); {} of {} connections are open, and {} were closed or refused since \
             the last such line (see cache_canary_refused_total)",
            reason.name(),
            table.open.len(),
            self.limits.connections,
            std::mem::take(&mut table.untold),
        );
    }

    /// Counts `text` among the unread ones for as long as the returned value is kept. Above the bound, the connections
    /// that have taken nothing for longest are closed.
    pub(super) fn hold(&self, text: &Bytes) -> HeldText {
        let held = self.unread.hold(text);
        self.close_above_bound();
        held
    }

    /// The same for the `bytes` of a request that has no answer yet. A connection of HTTP/2 may have many.
    pub(super) fn hold_request(&self, bytes: usize) -> HeldRequest {
        let held = self.unread.hold_request(bytes);
        self.close_above_bound();
        held
    }

    fn close_above_bound(&self) {
        let excess = self.unread.excess();
        if excess > 0 {
            self.close_unread(&mut self.table.lock(), excess);
        }
    }

    /// Closes connections until `excess` unread bytes are free.
    fn close_unread(&self, table: &mut ConnectionTable, excess: usize) {
        let mut freed = 0;
        while freed < excess {
            let waiting = table.open.iter().enumerate().filter_map(|(place, open)| {
                let ConnectionSnapshot { since, unread, .. } = open.idle_timeout.snapshot();
                (unread > 0).then_some((since, place, unread))
            });
            let Some((_, place, unread)) = waiting.min() else { return };
            freed += unread;
            self.close(table, place, Reason::Unread);
        }
    }

    /// `true` if a connection must take its answers before it gets more.
    pub(super) fn is_overdrawn(&self, idle_timeout: &IdleTimeout) -> bool {
        let ConnectionSnapshot { since, unread, .. } = idle_timeout.snapshot();
        unread > self.limits.unread_bytes_per_connection && since.elapsed() >= STALLED
    }

    /// Counts a refused answer.
    pub(super) fn refuse_answer(&self, caller: Caller) {
        self.refuse(&mut self.table.lock(), Reason::Unread, peer_of(caller));
    }

    /// Logs that `caller` was refused for its protocol, not more than once a minute for the same, and for a few only.
    pub(super) fn tell_foreign(&self, caller: Caller, name: &'static str, said: &str) {
        let mut told = self.foreign.lock();
        let (peer, now) = (peer_of(caller), Instant::now());
        let repeated = match told.entry((peer, name)) {
            Entry::Occupied(known) if now - known.get().told < WARN_EVERY => {
                known.into_mut().untold += 1;
                return;
            }
            Entry::Occupied(known) => known.remove().untold,
            Entry::Vacant(_) => 0,
        };
        if told.len() == FOREIGN_LOGS {
            told.retain(|_, log| now - log.told < WARN_EVERY);
        }
        if told.len() == FOREIGN_LOGS {
            return;
        }
        told.insert((peer, name), ForeignLog { told: now, untold: 0 });
        let peer = peer.map_or_else(|| "a unix socket".to_owned(), |peer| peer.to_string());
        let repeated = match repeated {
            0 => String::new(),
            repeated => format!(" ({repeated} more since the last such line)"),
        };
        warn!(target: CALLERS, "a connection from {peer} {said}{repeated}");
    }

    /// `true` if so many are open that memory is worth more than the time to allocate new buffers.
    pub(super) fn is_crowded(&self) -> bool {
        self.table.lock().open.len() > CROWD
    }

    /// The number of connections in this state.
    fn count(&self, state: ConnectionState) -> usize {
        self.table.lock().open.iter().filter(|open| open.idle_timeout.snapshot().state == state).count()
    }

    /// The number closed or refused for this reason.
    fn refused(&self, reason: Reason) -> u64 {
        self.refused[reason as usize].load(Ordering::Relaxed)
    }
}

impl ConnectionTable {
    fn add(&mut self, open: OpenConnection) {
        *self.shares.entry(open.peer).or_default() += 1;
        self.open.push(open);
    }

    fn remove(&mut self, place: usize) -> OpenConnection {
        let open = self.open.swap_remove(place);
        if let Entry::Occupied(mut share) = self.shares.entry(open.peer) {
            *share.get_mut() -= 1;
            if *share.get() == 0 {
                share.remove();
            }
        }
        open
    }
}

/// `true` if another connection may be closed for a peer that has its share, while there are others: a peer that opens
/// thousands in a second would keep the sidecar busy with opening and closing them.
fn may_churn(churn: &mut Option<(Instant, usize)>, now: Instant) -> bool {
    let (began, times) =
        churn.filter(|(began, _)| now.duration_since(*began) < CHURN_EVERY).unwrap_or((now, 0));
    *churn = Some((began, times + 1));
    times < CHURN
}

/// The rank of a connection, of which the least is closed first, and the reason.
fn rank(
    ConnectionSnapshot { state, since, unread }: ConnectionSnapshot,
    now: Instant,
) -> ((u8, Instant), Reason) {
    let is_stalled = now.duration_since(since) >= STALLED;
    let (rank, reason) = match state {
        ConnectionState::ReadingHead if is_stalled => (0, Reason::SlowHead),
        ConnectionState::Idle => (1, Reason::Idle),
        ConnectionState::Answering if unread > 0 && is_stalled => (1, Reason::Unread),
        // It was accepted just now, and its request is on the way.
        ConnectionState::ReadingHead => (2, Reason::SlowHead),
        ConnectionState::Answering => (3, Reason::Share),
    };
    ((rank, since), reason)
}

/// The place of one connection, for as long as it is kept.
#[derive(Debug)]
pub(super) struct ConnectionPlace {
    pub(super) places: Arc<Places>,
    pub(super) idle_timeout: Arc<IdleTimeout>,
}

impl ConnectionPlace {
    /// `true` if there is room for the connection now that its client speaks HTTP/2.
    pub(super) fn multiplex(&self, caller: Caller) -> bool {
        let Places { limits, .. } = &*self.places;
        let class =
            Class { most: HTTP2.min(limits.connections), holds: |open| open.idle_timeout.is_multiplexed() };
        let mut table = self.places.table.lock();
        let has_room = self.places.make_room(&mut table, &class, peer_of(caller));
        if has_room {
            self.idle_timeout.multiplex();
        } else {
            self.places.refuse(&mut table, Reason::Full, peer_of(caller));
        }
        has_room
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let mut table = self.places.table.lock();
        if let Some(place) =
            table.open.iter().position(|open| Arc::ptr_eq(&open.idle_timeout, &self.idle_timeout))
        {
            table.remove(place);
        }
        drop(table);
        self.places.release();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::time::advance;

    use super::*;

    fn places(connections: usize) -> Arc<Places> {
        let limits = ServerLimits { connections, unread_bytes: 64 * 1024, ..ServerLimits::default() };
        Places::new(limits, Arc::default())
    }

    /// The caller with this number, on the network.
    fn peer(number: u8) -> Caller {
        Caller::Remote(Ipv4Addr::new(192, 0, 2, number).into())
    }

    fn admit(places: &Arc<Places>, caller: Caller) -> Option<ConnectionPlace> {
        places.admit(caller, false)
    }

    fn is_open(place: &ConnectionPlace) -> bool {
        place.places.table.lock().open.iter().any(|open| Arc::ptr_eq(&open.idle_timeout, &place.idle_timeout))
    }

    /// A connection that has had its answer.
    fn idle(places: &Arc<Places>, caller: Caller) -> ConnectionPlace {
        let place = admit(places, caller).unwrap();
        drop(place.idle_timeout.ask());
        place
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_unfinished_head_makes_room_then_the_longest_idle_and_never_one_with_less_than_its_share()
     {
        let places = places(16);
        let honest = idle(&places, peer(1));
        let idles: Vec<_> = (0..7).map(|_| idle(&places, peer(2))).collect();
        advance(Duration::from_secs(1)).await;
        let head = admit(&places, peer(2)).unwrap();
        advance(Duration::from_millis(1)).await;
        let young: Vec<_> = (0..6).map(|_| admit(&places, peer(2)).unwrap()).collect();
        // One in 16 is kept for loopback, so those from the network have 15.
        let next = admit(&places, peer(3)).unwrap();
        assert!(!is_open(&idles[0]) && is_open(&idles[1]), "no head is old enough to count as slow");
        advance(STALLED).await;
        let last = admit(&places, peer(3)).unwrap();
        assert!(!is_open(&head) && is_open(&idles[1]));
        assert!(is_open(&honest) && is_open(&next) && is_open(&last) && young.iter().all(is_open));
        let counted = [Reason::SlowHead, Reason::Idle].map(|reason| places.refused(reason));
        assert_eq!(counted, [1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_cut_off_only_for_a_peer_that_has_less_than_its_share() {
        let places = places(16);
        let busy: Vec<_> = (0..15).map(|_| admit(&places, peer(1)).unwrap()).collect();
        let _requests: Vec<_> = busy.iter().map(|place| place.idle_timeout.ask()).collect();
        assert!(admit(&places, peer(1)).is_none(), "it has them all");
        assert!(busy.iter().all(is_open));
        assert!(admit(&places, peer(2)).is_some());
        assert_eq!(busy.iter().filter(|place| is_open(place)).count(), 14);
        assert_eq!([Reason::Full, Reason::Share].map(|reason| places.refused(reason)), [1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_kept_for_this_host_and_a_whole_network_of_ipv6_is_one_peer() {
        let places = places(16);
        let _network: Vec<_> = (0..15u16)
            .map(|host| {
                let ip = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, host);
                let place = admit(&places, Caller::Remote(ip.into())).unwrap();
                (place.idle_timeout.ask(), place)
            })
            .collect();
        assert_eq!(places.table.lock().shares.len(), 1);
        assert!(admit(&places, Caller::Local).is_some());
        assert!(admit(&places, Caller::Remote(Ipv4Addr::LOCALHOST.into())).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_with_its_share_is_made_room_for_so_often_a_second_beside_others() {
        let places = places(1024);
        let _other = idle(&places, peer(1));
        let held: Vec<_> = (0..959).map(|_| idle(&places, peer(2))).collect();
        let more = |times: usize| (0..times).filter_map(|_| admit(&places, peer(2))).collect::<Vec<_>>();
        let at_once = more(5000);
        // Each time several places are made free.
        assert!((CHURN..=CHURN * 1024 / LOOKED_AT_FOR_EACH).contains(&at_once.len()), "{}", at_once.len());
        advance(CHURN_EVERY).await;
        assert_eq!(more(10).len(), 10);
        drop(held);
    }

    #[tokio::test(start_paused = true)]
    async fn incomplete_requests_count_as_unread_texts_do_until_they_are_complete() {
        let places = places(16);
        let (slow, quick) = (idle(&places, peer(1)), idle(&places, peer(2)));
        let held: Vec<_> = (0..4).map(|_| places.hold_request(16 * 1024)).collect();
        slow.idle_timeout.wait_for(64 * 1024);
        advance(Duration::from_secs(1)).await;
        quick.idle_timeout.wait_for(1);
        assert!(is_open(&slow), "so many may wait");
        let one_more = places.hold_request(1);
        assert!(!is_open(&slow) && is_open(&quick));
        drop((held, one_more));
        let next = idle(&places, peer(3));
        next.idle_timeout.wait_for(1);
        let _held = places.hold_request(1);
        assert!(is_open(&next) && is_open(&quick), "those that are complete count no more");
    }

    #[tokio::test(start_paused = true)]
    async fn above_the_limit_of_unread_texts_the_client_that_reads_nothing_for_longest_is_closed() {
        let places = places(16);
        let (slow, quick) = (idle(&places, peer(1)), idle(&places, peer(2)));
        let text = Bytes::from(vec![b'x'; 20 * 1024]);
        let held: Vec<_> = (0..100).map(|_| places.hold(&text)).collect();
        for place in [&slow, &quick] {
            place.idle_timeout.wait_for(text.len());
        }
        advance(Duration::from_secs(1)).await;
        quick.idle_timeout.took(1);
        let others: Vec<_> = (0..7).map(|_| places.hold(&Bytes::from(vec![b'y'; 20 * 1024]))).collect();
        assert!(is_open(&slow) && is_open(&quick), "eight of the longest may always wait");
        let one_more = places.hold(&Bytes::from(vec![b'z'; 20 * 1024]));
        assert!(!is_open(&slow) && is_open(&quick));
        drop((held, others, one_more));
    }
}
