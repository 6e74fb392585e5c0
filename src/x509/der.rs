//! [`Reader`]: the elements of DER, one after the other (X.690).

/// The bytes that are left to read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next element, with its tag.
    pub(super) fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        // A length of 128 or more follows in as many bytes as the first one says.
        let (length, rest) = match usize::from(first) {
            short @ ..0x80 => (short, rest),
            long => {
                let (bytes, rest) = rest.split_at_checked(long - 0x80)?;
                let add = |length: usize, &byte: &u8| length.checked_mul(256)?.checked_add(byte.into());
                (bytes.iter().try_fold(0, add)?, rest)
            }
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, value))
    }

    /// The next element, if it has this tag.
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.0.first() == Some(&tag) { self.any().map(|(_, value)| value) } else { None }
    }

    /// The next element as a bit string, whose first byte counts the unused bits of its last.
    pub(super) fn bits(&mut self) -> Option<&'a [u8]> {
        let (_, bits) = self.take(super::tag::BIT_STRING)?.split_first()?;
        Some(bits)
    }

    /// The next element as a time, in seconds since 1970; an earlier one is 0 (RFC 5280, section 4.1.2.5).
    pub(super) fn time(&mut self) -> Option<u64> {
        const UTC_TIME: u8 = 0x17;
        const GENERALIZED_TIME: u8 = 0x18;
        let (tag, text) = self.any()?;
        let two = |at: usize| {
            let digit = |at: usize| {
                text.get(at).filter(|byte| byte.is_ascii_digit()).map(|byte| u64::from(byte - b'0'))
            };
            Some(digit(at)? * 10 + digit(at + 1)?)
        };
        let (year, rest) = match tag {
            UTC_TIME => match two(0)? {
                year @ ..50 => (2000 + year, 2),
                year => (1900 + year, 2),
            },
            GENERALIZED_TIME => (two(0)? * 100 + two(2)?, 4),
            _ => return None,
        };
        let (month, day) = (two(rest)?, two(rest + 2)?);
        let (hour, minute, second) = (two(rest + 4)?, two(rest + 6)?, two(rest + 8)?);
        let is_day = (1..=12).contains(&month) && (1..=31).contains(&day);
        if !is_day || hour > 23 || minute > 59 || second > 59 || text.last() != Some(&b'Z') {
            return None;
        }
        let days = days_since_year_0(year, month, day).saturating_sub(days_since_year_0(1970, 1, 1));
        Some(((days * 24 + hour) * 60 + minute) * 60 + second)
    }
}

/// The days from the first of March of the year 0 in the Gregorian calendar; a year begins with March, so that the leap
/// day is its last.
fn days_since_year_0(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.saturating_sub(1), month + 9) };
    // The months from March have 31, 30, 31, 30, 31 days, twice.
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1
}
