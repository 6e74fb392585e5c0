//! [`UnreadTexts`]: the answers that clients have not taken yet, and the bound on their bytes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use axum::body::Bytes;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::idle_timeout::STALLED;

use crate::mutex::Mutex;

/// Answers up to this size are counted one by one, longer ones once for all clients that get the same text.
const SMALL: usize = 16 * 1024;

/// This many of the longest answers may always be unread, however long they are.
const LONGEST: usize = 8;

/// The answers that the clients of one server have not taken yet.
#[derive(Debug)]
pub(super) struct UnreadTexts {
    /// The most bytes of them.
    most: usize,
    table: Mutex<UnreadTable>,
    /// Notified when answers were taken.
    taken: Notify,
}

#[derive(Debug, Default)]
struct UnreadTable {
    /// The number of clients that wait for each long text, by its place in memory.
    holders: HashMap<usize, usize>,
    /// The bytes of all of them, a long text once.
    bytes: usize,
    /// The length of the longest so far.
    longest: usize,
}

impl UnreadTexts {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, table: Mutex::default(), taken: Notify::new() })
    }

    /// Counts `text` for as long as the returned value is kept.
    pub(super) fn hold(self: &Arc<Self>, text: &Bytes) -> HeldText {
        let mut table = self.table.lock();
        let is_new = text.len() <= SMALL || {
            let holders = table.holders.entry(text.as_ptr() as usize).or_default();
            *holders += 1;
            *holders == 1
        };
        if is_new {
            table.bytes += text.len();
        }
        table.longest = table.longest.max(text.len());
        HeldText { among: self.clone(), text: text.clone() }
    }

    /// Counts the `bytes` of a request that has no answer yet, for as long as the returned value is kept.
    pub(super) fn hold_request(self: &Arc<Self>, bytes: usize) -> HeldRequest {
        self.table.lock().bytes += bytes;
        HeldRequest { among: self.clone(), bytes }
    }

    /// The bytes above the bound.
    pub(super) fn excess(&self) -> usize {
        let table = self.table.lock();
        table.bytes.saturating_sub(self.most.max(LONGEST * table.longest))
    }

    /// Waits while there are bytes above the bound and `is_enough` is false. It is looked at whenever any are given back.
    pub(super) async fn room_or(&self, is_enough: impl Fn() -> bool) {
        loop {
            let taken = self.taken.notified();
            if self.excess() == 0 || is_enough() {
                return;
            }
            taken.await;
        }
    }

    /// Waits while there are bytes above the bound, but not for long: closed connections soon give theirs back, and after
    /// the timeout only slow but honest clients still hold theirs.
    pub(super) async fn room(&self) {
        let _ = timeout(STALLED / 10, self.room_or(|| false)).await;
    }
}

impl UnreadTable {
    /// Removes a holder from the long text at this place in memory; `true` if it was the last.
    fn is_last_holder(&mut self, key: usize) -> bool {
        let Entry::Occupied(mut holders) = self.holders.entry(key) else { return false };
        *holders.get_mut() -= 1;
        let is_last = *holders.get() == 0;
        if is_last {
            holders.remove();
        }
        is_last
    }
}

/// A request that has no answer yet.
#[derive(Debug)]
pub(super) struct HeldRequest {
    among: Arc<UnreadTexts>,
    bytes: usize,
}

impl Drop for HeldRequest {
    fn drop(&mut self) {
        self.among.table.lock().bytes -= self.bytes;
        self.among.taken.notify_waiters();
    }
}

/// A text that one client has not taken yet.
#[derive(Debug)]
pub(super) struct HeldText {
    among: Arc<UnreadTexts>,
    /// Kept, so that no other text gets its place in memory while it is counted.
    text: Bytes,
}

impl Drop for HeldText {
    fn drop(&mut self) {
        let mut table = self.among.table.lock();
        if self.text.len() <= SMALL || table.is_last_holder(self.text.as_ptr() as usize) {
            table.bytes -= self.text.len();
            drop(table);
            self.among.taken.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_counts_once_until_its_last_client_has_taken_it() {
        let unread = UnreadTexts::new(64 * 1024);
        let (long, short) = (Bytes::from(vec![b'x'; SMALL + 1]), Bytes::from_static(b"short"));
        let held: Vec<_> = (0..100).map(|_| (unread.hold(&long), unread.hold(&short))).collect();
        assert_eq!(unread.table.lock().bytes, long.len() + 100 * short.len());
        drop(held);
        let table = unread.table.lock();
        assert_eq!((table.bytes, table.holders.len()), (0, 0));
    }
}
