//! Spans of time and points in time, as people write them.
//!
//! | function | below a second | above | in |
//! | --- | --- | --- | --- |
//! | [`fine`] | `0.3ms` | `1s 234ms`, from ten seconds on `6m 12s` | findings and steps, beside a limit |
//! | [`whole`] | `750ms` | `2m 3s` | the log and lists of changes, of a status that has ended |
//! | [`rough`] | `751 ms` | `2m 3s` | the tables of `check` |
//! | [`greatest`] | `0 s` | `59 s`, `3 h 7 min`, `2 d 4 h` | the page, and its script in the same way |
//! | [`took`] | `0.31 ms`, `12 ms` | `1.2 s` | the page, of a check and its phases |

use std::time::{Duration, SystemTime};

use humantime::format_duration;

const SECOND: Duration = Duration::from_secs(1);

/// RFC 3339 in UTC, in whole seconds: `2026-11-22T19:34:27Z`.
pub(crate) fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(in_range(time)).to_string()
}

/// The same with milliseconds.
pub(crate) fn timestamp_millis(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(in_range(time)).to_string()
}

/// The clock of a machine may be before 1970, and a certificate may end after the year 9999, which the format cannot
/// express.
fn in_range(time: SystemTime) -> SystemTime {
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    time.clamp(SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + LAST)
}

/// A time with only the digits that matter.
pub(crate) fn fine(time: Duration) -> String {
    if time < SECOND {
        let milliseconds = format!("{:.1}", time.as_secs_f64() * 1e3);
        format!("{}ms", milliseconds.trim_end_matches(".0"))
    } else if time < SECOND * 10 {
        milliseconds(time)
    } else {
        seconds(time)
    }
}

/// A time in whole milliseconds if it is below a second, else in whole seconds.
pub(crate) fn whole(time: Duration) -> String {
    if time < SECOND { milliseconds(time) } else { seconds(time) }
}

/// The same with a space before `ms`.
pub(crate) fn rough(time: Duration) -> String {
    if time < SECOND { format!("{} ms", time.as_millis()) } else { seconds(time) }
}

/// A time in whole seconds.
fn seconds(time: Duration) -> String {
    format_duration(Duration::from_secs(time.as_secs())).to_string()
}

fn milliseconds(time: Duration) -> String {
    format_duration(Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))).to_string()
}

/// A setting, in days if they are whole: `31d`, or `1h 30m`.
pub(crate) fn setting(span: Duration) -> String {
    const DAY: u64 = 86_400;
    match (span.as_secs(), span.subsec_nanos()) {
        (seconds @ DAY.., 0) if seconds.is_multiple_of(DAY) => format!("{}d", seconds / DAY),
        (..) => format_duration(span).to_string(),
    }
}

/// A span in its two greatest units. The script formats spans in the same way.
pub(crate) fn greatest(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// A time with at most two decimals, in one piece.
pub(crate) fn took(time: Duration) -> String {
    let micros = time.as_micros();
    let (value, unit) =
        if micros < 1_000_000 { (time.as_secs_f64() * 1e3, "ms") } else { (time.as_secs_f64(), "s") };
    let digits = match value {
        ..1.0 => 2,
        1.0..10.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}\u{a0}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_no_more_digits_than_matter() {
        let said = [0, 312, 20_000, 1_234_567, 12_345_678, 400_000_000];
        let said = said.map(|micros| fine(Duration::from_micros(micros)));
        assert_eq!(said, ["0ms", "0.3ms", "20ms", "1s 234ms", "12s", "6m 40s"]);
    }

    #[test]
    fn a_setting_of_whole_days_is_shown_in_days() {
        let said = [0, 90, 86_400, 31 * 86_400, 90_000].map(|seconds| setting(Duration::from_secs(seconds)));
        assert_eq!(said, ["0s", "1m 30s", "1d", "31d", "1day 1h"]);
    }

    #[test]
    fn the_page_shows_times_in_one_or_two_units() {
        let said = [312, 4_560, 45_600, 1_234_000].map(|micros| took(Duration::from_micros(micros)));
        assert_eq!(said.map(|said| said.replace('\u{a0}', " ")), ["0.31 ms", "4.6 ms", "46 ms", "1.2 s"]);
        let said = [59, 60, 3_599, 3_660, 90_000].map(|seconds| greatest(Duration::from_secs(seconds)));
        assert_eq!(said, ["59 s", "1 min", "59 min", "1 h 1 min", "1 d 1 h"]);
    }
}
