//! The assignment of entries to partitions.

use crc::{CRC_32_ISO_HDLC, Crc, NoTable};

/// The number of partitions: few enough that each has a line in a scrape, and enough that a stuck one delays only a
/// small part of the checks.
pub(super) const PARTITIONS: usize = 16;

/// CRC-32 without a table, since names are hashed only when the configuration is read.
const CRC_32: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

/// The partition of the entry with this name, such as `main` or `main.queue`: the same one after a restart, after a
/// reload and on every machine.
pub(super) fn partition(entry: &str) -> usize {
    CRC_32.checksum(entry.as_bytes()) as usize % PARTITIONS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_in_the_partition_of_its_name_for_every_reader() {
        // Computed by zlib's crc32; the first is the algorithm's check value.
        let known = [
            ("123456789", 0xcbf4_3926, 6),
            ("main", 0xbf28_cd64, 4),
            ("main.queue", 0x1cdf_1241, 1),
            ("sessions", 0x9a60_9d13, 3),
            ("default", 0xe35e_00df, 15),
        ];
        for (entry, sum, place) in known {
            assert_eq!((CRC_32.checksum(entry.as_bytes()), partition(entry)), (sum, place), "{entry}");
        }
    }

    #[test]
    fn ten_thousand_entries_are_spread_evenly() {
        let mut sizes = [0; PARTITIONS];
        for number in 0..10_000 {
            sizes[partition(&format!("cache-{number}"))] += 1;
        }
        assert!(sizes.iter().all(|size| (500..=750).contains(size)), "{sizes:?}");
    }
}
