//! [`Sharing`]: the number of checks that a shared result has made unnecessary.

named! {
    /// The origin of a shared result.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Through {
        /// Another caller of the same sidecar.
        Process = "process",
        /// Another sidecar, through a Redis that both use.
        Store = "store",
    }
}

named! {
    /// The result of looking for a shared check.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Lookup {
        /// A result was found, and no check was made.
        Hit = "hit",
        /// No result was found.
        Miss = "miss",
        /// A result was found, but it was no longer valid.
        Invalidated = "invalidated",
    }
}

/// The number of attempts to reuse another check's result, by result of the attempt.
#[derive(Debug, Clone, Default)]
pub struct Sharing {
    process: [u64; Lookup::ALL.len()],
    /// Boxed, since thousands of entries have no store.
    store: Option<Box<[u64; Lookup::ALL.len()]>>,
}

impl Lookup {
    fn place(self) -> usize {
        self as usize
    }
}

impl Sharing {
    /// Counts lookups of a result.
    pub(super) fn note(&mut self, through: Through, lookup: Lookup, times: u64) {
        let counts = match through {
            Through::Process => &mut self.process,
            Through::Store => &mut **self.store.get_or_insert_default(),
        };
        counts[lookup.place()] += times;
    }

    /// The number of attempts with this result; `None` for a store that was never asked.
    #[must_use]
    pub fn times(&self, through: Through, lookup: Lookup) -> Option<u64> {
        let counts = match through {
            Through::Process => Some(&self.process),
            Through::Store => self.store.as_deref(),
        };
        counts.map(|counts| counts[lookup.place()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_of_sharing_is_counted_by_itself_and_a_store_only_once_it_was_asked() {
        let mut sharing = Sharing::default();
        sharing.note(Through::Process, Lookup::Hit, 1);
        sharing.note(Through::Process, Lookup::Hit, 1);
        assert_eq!(sharing.times(Through::Process, Lookup::Hit), Some(2));
        assert_eq!(sharing.times(Through::Process, Lookup::Miss), Some(0));
        assert_eq!(sharing.times(Through::Store, Lookup::Miss), None);
        sharing.note(Through::Store, Lookup::Invalidated, 1);
        assert_eq!(sharing.times(Through::Store, Lookup::Invalidated), Some(1));
        assert_eq!(sharing.times(Through::Store, Lookup::Hit), Some(0));
    }
}
