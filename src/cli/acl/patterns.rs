//! Patterns of keys for a user of Redis (Redis' documentation, KEYS, on glob-style patterns).

use std::ops::RangeInclusive;

use crate::config::checks::Keys;

/// A pattern that matches this text and, except for the spaces in it, nothing else.
pub(super) fn literally(text: &str) -> String {
    let mut pattern = String::new();
    for char in text.chars() {
        if matches!(char, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(char);
    }
    without_spaces(&pattern)
}

/// The same pattern with any character for a space, which a user's pattern may not have (`ACLStringHasSpaces` in
/// Redis' acl.c).
pub(super) fn without_spaces(pattern: &str) -> String {
    let is_space = |char: char| char.is_ascii_whitespace() || matches!(char, '\x0b' | '\0');
    pattern.replace(is_space, "?")
}

/// The patterns that match some keys and no others.
pub(super) fn of(keys: &Keys) -> Vec<String> {
    let (before, after) = (literally(&keys.before), literally(&keys.after));
    match &keys.numbers {
        None => vec![before],
        Some(numbers) => {
            numbers_in(numbers).into_iter().map(|numbers| format!("{before}{numbers}{after}")).collect()
        }
    }
}

/// Patterns that together match the numbers of a range and no others. Each pattern matches numbers that differ in one
/// digit and in all digits after it.
fn numbers_in(range: &RangeInclusive<u32>) -> Vec<String> {
    let (mut next, greatest) = (u64::from(*range.start()), u64::from(*range.end()));
    let mut patterns = Vec::new();
    while next <= greatest {
        // The largest block of numbers that share this one's leading digits and fit in the range.
        let mut block = 1;
        while next > 0 && next % (block * 10) == 0 && next + block * 10 - 1 <= greatest {
            block *= 10;
        }
        let digit = next / block % 10;
        let more = ((greatest + 1 - next) / block - 1).min(9 - digit);
        let before = Some(next / block / 10).filter(|before| *before > 0);
        let before = before.map(|before| before.to_string()).unwrap_or_default();
        let last = match more {
            0 => digit.to_string(),
            _ => format!("[{digit}-{}]", digit + more),
        };
        let behind = "[0-9]".repeat(block.ilog10() as usize);
        patterns.push(format!("{before}{last}{behind}"));
        next += block * (more + 1);
    }
    patterns
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `true` if a pattern of digits and classes of digits matches a number.
    fn matches(pattern: &str, number: u32) -> bool {
        let (mut pattern, number) = (pattern, number.to_string());
        for digit in number.chars() {
            pattern = if let Some(class) = pattern.strip_prefix('[') {
                let (class, rest) = class.split_once(']').unwrap();
                let (least, greatest) = class.split_once('-').unwrap();
                let digits: RangeInclusive<char> = least.parse().unwrap()..=greatest.parse().unwrap();
                if !digits.contains(&digit) {
                    return false;
                }
                rest
            } else if let Some(rest) = pattern.strip_prefix(digit) {
                rest
            } else {
                return false;
            };
        }
        pattern.is_empty()
    }

    #[test]
    fn the_numbers_of_a_family_match_and_no_others() {
        assert_eq!(numbers_in(&(0..=15)), ["[0-9]", "1[0-5]"]);
        assert_eq!(numbers_in(&(0..=127)), ["[0-9]", "[1-9][0-9]", "1[0-1][0-9]", "12[0-7]"]);
        assert_eq!(numbers_in(&(7..=7)), ["7"]);
        assert_eq!(numbers_in(&(0..=9999)).len(), 4);
        for (least, greatest) in [(0, 0), (0, 9), (3, 208), (9, 10), (95, 1003), (100, 999), (989, 1111)] {
            let patterns = numbers_in(&(least..=greatest));
            for number in 0..2000 {
                let expected = usize::from((least..=greatest).contains(&number));
                let found = patterns.iter().filter(|pattern| matches(pattern, number)).count();
                assert_eq!(found, expected, "{number} in {least}..={greatest}: {patterns:?}");
            }
        }
        assert_eq!(numbers_in(&(u32::MAX - 1..=u32::MAX)), ["429496729[4-5]"]);
    }

    #[test]
    fn a_pattern_has_no_spaces_and_stands_for_its_characters() {
        let family = Keys { before: "a* {".to_owned(), numbers: Some(8..=10), after: "}".to_owned() };
        assert_eq!(of(&family), ["a\\*?{[8-9]}", "a\\*?{10}"]);
        assert_eq!(of(&Keys::one("celery\x06\x163")), ["celery\x06\x163"]);
    }
}
