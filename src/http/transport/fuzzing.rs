//! The properties of a connection's first bytes.

#![allow(clippy::expect_used, reason = "a property that does not hold panics")]

use tokio::io::AsyncReadExt as _;

use super::foreign::Foreign;
use super::preface::{Peeked, Version};
use crate::cache::scripted::{Cut, speaking, within};

/// The most bytes of a head.
const MOST: usize = 16 * 1024;

/// A head that is longer is not parsed whole, unless it comes so.
const PARSED: usize = 1024;

pub(in crate::http) fn first_bytes(bytes: &[u8], cut: Cut) {
    let whole = version(bytes, Cut::Whole);
    if bytes.len() <= PARSED {
        for cut in [Cut::Bytes, cut] {
            assert_eq!(is_foreign(version(bytes, cut)), is_foreign(whole), "{cut:?}");
        }
    }
    let foreign = Foreign::of(bytes, httparse::Error::Token);
    assert!((1..1024).contains(&foreign.answer(bytes, "HTTP").len()));
}

/// The words of it depend on how much has come.
fn is_foreign(version: Version) -> Option<Version> {
    (!matches!(version, Version::Foreign(_))).then_some(version)
}

fn version(bytes: &[u8], cut: Cut) -> Version {
    let mut peeked = Peeked::new(&[], speaking(bytes, cut));
    let read = async {
        let version = peeked.version(MOST).await?;
        let mut all = Vec::new();
        peeked.read_to_end(&mut all).await?;
        std::io::Result::Ok((version, all))
    };
    let (version, all) =
        within(4 * bytes.len() + 64, read).expect("the client has closed").expect("no error");
    assert_eq!(all, bytes, "a byte is lost");
    version
}
