//! The hashes by which clients spread keys.

use crc::{CRC_32_ISO_HDLC, Crc};
use ring::digest::{Digest, SHA256, digest};

/// The CRC-32 of zlib.
pub(super) fn crc32(data: &[u8]) -> u32 {
    const CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
    CRC32.checksum(data)
}

pub(super) fn sha256(data: &[u8]) -> Digest {
    digest(&SHA256, data)
}

pub(super) fn md5(data: &[u8]) -> [u8; 16] {
    md5::compute(data).0
}

/// Austin Appleby's `MurmurHash64A` with Jedis' seed (`MurmurHash.hash` in its `MurmurHash.java`).
pub(super) fn murmur64(data: &[u8]) -> u64 {
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    let (blocks, tail) = data.as_chunks::<8>();
    let mut hash = 0x1234_abcd ^ (data.len() as u64).wrapping_mul(FACTOR);
    for block in blocks {
        let block = u64::from_le_bytes(*block).wrapping_mul(FACTOR);
        hash = (hash ^ (block ^ block >> 47).wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
    }
    if !tail.is_empty() {
        let rest = tail.iter().rev().fold(0, |rest, &byte| rest << 8 | u64::from(byte));
        hash = (hash ^ rest).wrapping_mul(FACTOR);
    }
    hash = (hash ^ hash >> 47).wrapping_mul(FACTOR);
    hash ^ hash >> 47
}
