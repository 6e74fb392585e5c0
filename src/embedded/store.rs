//! The data of a server.

use std::array;
use std::collections::BTreeMap;

use tokio::time::Instant;

/// The number of databases, which is Redis' default; memcached uses the first.
pub(super) const DATABASES: usize = 16;

/// The longest value, in bytes.
pub(super) const MAX_VALUE: usize = 1 << 20;

/// The capacity, in bytes of keys and values.
const MAX_HELD: usize = 64 << 20;

/// Keys with their items, by database.
#[derive(Debug)]
pub(super) struct Store {
    databases: [BTreeMap<Vec<u8>, Item>; DATABASES],
    /// The number of bytes stored.
    held: usize,
    last_cas: u64,
    /// The number of further keys that may be stored; `None` if only the bytes limit it.
    room: Option<usize>,
}

/// The item stored for a key.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    /// memcached's flags, for the client's own use.
    pub(super) flags: u32,
    /// A number that changes with every write.
    pub(super) cas: u64,
    pub(super) expires: Option<Instant>,
    /// The length that an answer claims for the value, if not its real length.
    pub(super) claimed: Option<usize>,
}

/// The condition for a write or a delete.
#[derive(Debug, Clone, Copy)]
pub(super) enum Condition {
    Always,
    Absent,
    Present,
    /// The item has this CAS number.
    Cas(u64),
}

/// The result of a write or a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It was done; this is the CAS number of the written item.
    Done(u64),
    NotStored,
    NotFound,
    Exists,
}

/// There is no room for another item.
#[derive(Debug)]
pub(super) struct OutOfMemory;

impl Item {
    pub(super) fn new(key: &[u8], value: &[u8]) -> Self {
        Self { key: key.into(), value: value.into(), flags: 0, cas: 0, expires: None, claimed: None }
    }

    /// The length of the value that an answer announces.
    pub(super) fn announced(&self) -> usize {
        self.claimed.unwrap_or(self.value.len())
    }

    fn is_expired(&self) -> bool {
        self.expires.is_some_and(|expires| expires <= Instant::now())
    }

    fn size(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { databases: array::from_fn(|_| BTreeMap::new()), held: 0, last_cas: 0, room: None }
    }
}

impl Store {
    /// The number of stored keys.
    pub(super) fn len(&mut self) -> usize {
        self.purge();
        self.databases.iter().map(BTreeMap::len).sum()
    }

    /// If `full`, each new key needs the deletion of another from now on; if not, there is room again.
    pub(super) fn set_full(&mut self, full: bool) {
        self.room = full.then_some(0);
    }

    pub(super) fn get(&mut self, database: usize, key: &[u8]) -> Option<&mut Item> {
        if self.databases[database].get(key).is_some_and(Item::is_expired) {
            self.take(database, key);
        }
        self.databases[database].get_mut(key)
    }

    /// An item with another key than `key`.
    pub(super) fn other(&mut self, database: usize, key: &[u8]) -> Option<&Item> {
        self.databases[database].values().find(|item| item.key != key && !item.is_expired())
    }

    pub(super) fn set(
        &mut self,
        database: usize,
        mut item: Item,
        condition: Condition,
    ) -> Result<Effect, OutOfMemory> {
        let old = self.get(database, &item.key).map(|old| (old.cas, old.size()));
        // As in memcached, the space is checked before the condition.
        let freed = old.map_or(0, |(_, size)| size);
        if self.room == Some(0) || !self.has_space(item.size(), freed) {
            return Err(OutOfMemory);
        }
        match (condition, old) {
            (Condition::Absent, Some(_)) | (Condition::Present, None) => return Ok(Effect::NotStored),
            (Condition::Cas(_), None) => return Ok(Effect::NotFound),
            (Condition::Cas(wanted), Some((cas, _))) if cas != wanted => return Ok(Effect::Exists),
            _ => {}
        }
        if old.is_some() {
            self.take(database, &item.key);
        } else if let Some(room) = &mut self.room {
            *room -= 1;
        }
        self.last_cas += 1;
        item.cas = self.last_cas;
        self.held += item.size();
        self.databases[database].insert(item.key.clone(), item);
        Ok(Effect::Done(self.last_cas))
    }

    pub(super) fn delete(&mut self, database: usize, key: &[u8], condition: Condition) -> Effect {
        match (self.get(database, key), condition) {
            (None, _) => Effect::NotFound,
            (Some(item), Condition::Cas(wanted)) if item.cas != wanted => Effect::Exists,
            (Some(_), _) => {
                self.take(database, key);
                if let Some(room) = &mut self.room {
                    *room += 1;
                }
                Effect::Done(0)
            }
        }
    }

    fn take(&mut self, database: usize, key: &[u8]) {
        if let Some(item) = self.databases[database].remove(key) {
            self.held -= item.size();
        }
    }

    fn has_space(&mut self, needed: usize, freed: usize) -> bool {
        if self.held + needed - freed > MAX_HELD {
            self.purge();
        }
        self.held + needed - freed <= MAX_HELD
    }

    /// Drops expired items. Reads do this for their own key, so this is needed only for counting and for
    /// space.
    fn purge(&mut self) {
        for items in &mut self.databases {
            items.retain(|_, item| !item.is_expired());
        }
        self.held = self.databases.iter().flat_map(BTreeMap::values).map(Item::size).sum();
    }
}
