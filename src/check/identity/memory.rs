//! [`MarkerMemory`]: the markers of an alias that this process remembers. They outlive a reload.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::super::CheckContext;
use super::marker::{Marker, Sight};
use crate::canary::Key;
use crate::config::Backend;
use crate::mutex::Mutex;

/// The time for which a marker is remembered whose life nobody extends, as if its key has moved to a server with
/// another marker: less than that life.
const REMEMBERED: Duration = Duration::from_hours(28 * 24);

/// The memories of all aliases, each for as long as a check has it.
#[derive(Default)]
pub(crate) struct MarkerMemories(Mutex<HashMap<String, Weak<MarkerMemory>>>);

/// The markers of one alias, by server; in a cluster, by key, since the keys move with their slots.
#[derive(Default)]
pub(crate) struct MarkerMemory(Mutex<HashMap<Arc<str>, Remembered>>);

/// A marker that was found before.
#[derive(Clone)]
pub(super) struct Remembered {
    key: Key,
    pub(super) marker: Marker,
    /// The time at which its life was last extended.
    pub(super) renewed: Instant,
    /// The time at which it was last found, in milliseconds since 1970.
    seen_at: u64,
}

impl MarkerMemories {
    /// The memory of an alias. If its servers are configured to be other ones, nothing is remembered of the earlier.
    pub(in crate::check) fn of(&self, backend: &Backend, context: &CheckContext) -> Arc<MarkerMemory> {
        let servers = match backend {
            Backend::Redis(redis) => format!("{:?} {}", redis.servers, redis.login.database),
            Backend::Memcached(memcached) => format!("{:?}", memcached.servers),
            Backend::Unchecked(_) => String::new(),
        };
        let name = format!("{} {} {servers}", context.alias, context.prefix);
        let mut memories = self.0.lock();
        memories.retain(|_, memory| memory.strong_count() > 0);
        let memory = memories.get(&name).and_then(Weak::upgrade).unwrap_or_default();
        memories.insert(name, Arc::downgrade(&memory));
        memory
    }
}

impl MarkerMemory {
    /// The marker that was found before under this name.
    pub(super) fn get(&self, name: &str) -> Option<Remembered> {
        self.0.lock().get(name).cloned()
    }

    /// Forgets markers that may have expired.
    pub(super) fn forget(&self) {
        self.0.lock().retain(|_, remembered| remembered.renewed.elapsed() < REMEMBERED);
    }

    /// The key of a marker that was found before, if one fits.
    pub(super) fn key(&self, fits: impl Fn(&Key) -> bool) -> Option<Key> {
        self.0.lock().values().map(|remembered| &remembered.key).find(|key| fits(key)).cloned()
    }

    /// Compares a marker that is found `now` with the one `before`, and remembers it unless it is another. A configured
    /// number counts more than the memory.
    ///
    /// A marker that was made after the last look at the earlier one is no other cache's: a sidecar that remembers none
    /// has written it after a loss. So the loss is what is found.
    pub(super) fn compare(
        &self,
        (key, name): (Key, Arc<str>),
        mut marker: Marker,
        before: Option<&Remembered>,
        configured: Option<u64>,
        (renewed, now): (Instant, u64),
    ) -> Sight {
        let seen_at = before.map(|before| before.seen_at);
        let before = before.map(|before| &before.marker);
        let number = configured.or(before.map(|before| before.number));
        if let Some(number) = number.filter(|number| *number != marker.number) {
            let is_new = seen_at.is_some_and(|seen_at| marker.made_at >= seen_at);
            if configured.is_some() || !is_new {
                let remembered = before.filter(|before| before.number == number).cloned();
                return Sight { marker, expected: Some((number, remembered)), is_news: false };
            }
            marker.lost_at = marker.lost_at.max(marker.made_at);
        }
        // The server does not tell of a loss after which its marker was made.
        let same = before.filter(|before| before.number == marker.number);
        marker.lost_at = marker.lost_at.max(same.map_or(0, |before| before.lost_at));
        let is_news = before.is_some_and(|before| before.lost_at < marker.lost_at);
        let remembered = Remembered { key, marker: marker.clone(), renewed, seen_at: now };
        self.0.lock().insert(name, remembered);
        Sight { marker, expected: None, is_news }
    }
}
