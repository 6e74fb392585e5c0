//! The places of a credential's runs in a text, in any spelling.

use std::collections::BTreeSet;
use std::ops::Range;

/// The shortest run that is hidden, in bytes. A shorter credential is hidden only if it is a word of its own.
const RUN: usize = 5;

/// One way to read a text: bytes, each with its place in the text.
type Reading = Vec<(u8, Range<usize>)>;

/// The separator of unrelated parts of a reading. No UTF-8 has this byte.
const BREAK: u8 = 0xff;

/// The bytes of a text that belong to a run of a credential, except for runs that the `shown` texts have too.
pub(super) fn covered<'a>(
    text: &str,
    credentials: impl Iterator<Item = &'a str>,
    shown: &[String],
) -> Vec<bool> {
    let mut covered = vec![false; text.len()];
    let exact = [plain(text), unescaped(text)];
    let (mut hidden, mut hidden_letters) = (Runs::new(), Runs::new());
    for credential in credentials {
        if credential.len() < RUN {
            for reading in &exact {
                cover_word(reading, credential.as_bytes(), &mut covered);
            }
        } else {
            hidden.extend(runs(credential.as_bytes()));
            hidden_letters.extend(runs(&letters(credential)));
        }
    }
    for shown in shown {
        for run in runs(shown.as_bytes()) {
            hidden.remove(&run);
        }
        for run in runs(&letters(shown)) {
            hidden_letters.remove(&run);
        }
    }
    let lettered: Reading =
        exact[0].iter().filter(|(byte, _)| byte.is_ascii_alphanumeric()).cloned().collect();
    cover(&lettered, &hidden_letters, &mut covered);
    let packed = (0..4).map(|skip| unpacked(text, 6, skip, of_base64));
    let packed = packed.chain((0..2).map(|skip| unpacked(text, 4, skip, of_hex)));
    for reading in exact.into_iter().chain(packed) {
        cover(&reading, &hidden, &mut covered);
    }
    covered
}

/// The runs of credentials, in lower case. A credential may be a token of thousands of characters.
type Runs = BTreeSet<[u8; RUN]>;

/// Every run of these bytes.
fn runs(bytes: &[u8]) -> impl Iterator<Item = [u8; RUN]> {
    bytes.windows(RUN).map(|run| std::array::from_fn(|place| run[place].to_ascii_lowercase()))
}

/// Marks the runs of credentials in a reading.
fn cover(reading: &[(u8, Range<usize>)], hidden: &Runs, covered: &mut [bool]) {
    let bytes: Vec<u8> = reading.iter().map(|(byte, _)| *byte).collect();
    for (place, run) in runs(&bytes).enumerate() {
        if hidden.contains(&run) {
            covered[reading[place].1.start..reading[place + RUN - 1].1.end].fill(true);
        }
    }
}

/// Marks a credential that is shorter than a run, if it is not within a word.
fn cover_word(reading: &[(u8, Range<usize>)], credential: &[u8], covered: &mut [bool]) {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
    let is_free = |place: Option<&(u8, Range<usize>)>| place.is_none_or(|(byte, _)| !is_letter(*byte));
    // A window must not be empty.
    for (start, word) in reading.windows(credential.len().max(1)).enumerate() {
        let bytes: Vec<u8> = word.iter().map(|(byte, _)| *byte).collect();
        if bytes.eq_ignore_ascii_case(credential)
            && is_free(start.checked_sub(1).and_then(|before| reading.get(before)))
            && is_free(reading.get(start + word.len()))
        {
            covered[word[0].1.start..word[word.len() - 1].1.end].fill(true);
        }
    }
}

/// The unchanged text.
fn plain(text: &str) -> Reading {
    text.bytes().enumerate().map(|(at, byte)| (byte, at..at + 1)).collect()
}

/// The letters and digits of a text: they join a credential that is in pieces.
fn letters(text: &str) -> Vec<u8> {
    text.bytes().filter(u8::is_ascii_alphanumeric).collect()
}

/// The text with `\xNN`, `\"` and `%NN` decoded.
fn unescaped(text: &str) -> Reading {
    let bytes = text.as_bytes();
    let number = |from: usize| {
        let digits = bytes.get(from..from + 2)?;
        Some(of_hex(digits[0])? << 4 | of_hex(digits[1])?)
    };
    let (mut reading, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let (byte, len) = match (bytes[at], bytes.get(at + 1)) {
            (b'%', _) => number(at + 1).map_or((b'%', 1), |byte| (byte, 3)),
            (b'\\', Some(b'x')) => number(at + 2).map_or((b'x', 2), |byte| (byte, 4)),
            (b'\\', Some(&escaped)) => (escaped, 2),
            (byte, _) => (byte, 1),
        };
        reading.push((byte, at..at + len));
        at += len;
    }
    reading
}

/// The decoded text if each digit stands for this many bits, without the first `skip` digits of each run of digits.
fn unpacked(text: &str, bits: u32, skip: u32, digit: fn(u8) -> Option<u8>) -> Reading {
    let mut reading = Vec::new();
    let (mut number, mut held, mut skipped) = (0_u32, 0, 0);
    for (at, byte) in text.bytes().enumerate() {
        let Some(value) = digit(byte) else {
            (number, held, skipped) = (0, 0, 0);
            reading.push((BREAK, at..at + 1));
            continue;
        };
        if skipped < skip {
            skipped += 1;
            continue;
        }
        number = number << bits | u32::from(value);
        held += bits;
        if held >= 8 {
            held -= 8;
            let [byte, ..] = (number >> held).to_le_bytes();
            // No byte is spread over more than two digits.
            reading.push((byte, at - 1..at + 1));
        }
    }
    reading
}

fn of_hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// The digits of base64, of either alphabet (RFC 4648, sections 4 and 5).
fn of_base64(digit: u8) -> Option<u8> {
    Some(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}
