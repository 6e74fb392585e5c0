//! What a server holds.

use std::array;
use std::collections::BTreeMap;

use tokio::time::Instant;

/// How many databases there are, as in a Redis that nobody configured; memcached uses the first.
pub(super) const DATABASES: usize = 16;

/// The longest value, in bytes.
pub(super) const MAX_VALUE: usize = 1 << 20;

/// The most that is held, in bytes of keys and values.
const MAX_HELD: usize = 64 << 20;

/// Keys with their items, by database.
#[derive(Debug)]
pub(super) struct Store {
    databases: [BTreeMap<Vec<u8>, Item>; DATABASES],
    /// How many bytes are held.
    held: usize,
    last_cas: u64,
    /// How many more keys may be held; without a number, as many as the bytes allow.
    room: Option<usize>,
}

/// What is held for a key.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    /// memcached's number for the client's own use.
    pub(super) flags: u32,
    /// A number that changes with every write.
    pub(super) cas: u64,
    pub(super) expires: Option<Instant>,
    /// The length that an answer claims for the value, where that is not its length.
    pub(super) claimed: Option<usize>,
}

/// When an item may be written or deleted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Condition {
    Always,
    Absent,
    Present,
    /// While the number of the item is this.
    Cas(u64),
}

/// What came of a write or a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It was done, and this is the number of the item that was written.
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

    /// How many bytes of value are announced.
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
    /// How many keys are held.
    pub(super) fn len(&mut self) -> usize {
        self.purge();
        self.databases.iter().map(BTreeMap::len).sum()
    }

    /// From now on there is room for a new key only where another was deleted; or there is room again.
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
        // As in memcached, room is looked for before the condition.
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

    /// Lets go of what has expired. Reads do it for the key that they read, so this is for counting and for
    /// space.
    fn purge(&mut self) {
        for items in &mut self.databases {
            items.retain(|_, item| !item.is_expired());
        }
        self.held = self.databases.iter().flat_map(BTreeMap::values).map(Item::size).sum();
    }
}
