//! The preferences in `Accept` (RFC 9110, section 12.5.1).

use std::cmp::Ordering;

use axum::http::{HeaderMap, header};
use mediatype::{MediaType, MediaTypeList, Name, ReadParams as _};

const QUALITY: Name<'_> = Name::new_unchecked("q");
const VERSION: Name<'_> = Name::new_unchecked("version");

/// The best of `offered` for the sender of `headers`, the default first; none if `headers` accept none of it.
///
/// The higher quality wins, and then a named type over one that only a wildcard matches: `text/html, */*` is a wish for
/// HTML. The order in the header means nothing.
pub(super) fn preferred<'a, T>(
    headers: &HeaderMap,
    mut offered: impl DoubleEndedIterator<Item = (T, MediaType<'a>)>,
) -> Option<T> {
    if is_open(headers) {
        return offered.next().map(|(offer, _)| offer);
    }
    // A range that cannot be parsed is ignored: a prober that sends one still expects a response.
    let ranges: Vec<_> =
        texts(headers).flat_map(MediaTypeList::new).flatten().filter_map(MediaRange::of).collect();
    let weighed = offered.filter_map(|(offer, media_type)| Some((offer, weigh(&ranges, &media_type)?)));
    let taken = weighed.filter(|(_, weight)| weight.quality > 0.0);
    // The last of the best, from the back.
    taken.rev().max_by(|(_, one), (_, other)| one.order(*other)).map(|(offer, _)| offer)
}

/// `true` if `headers` say nothing but `*/*`, or nothing at all, as nearly every prober does. All else would take 3,000 instructions
/// to come to the default.
fn is_open(headers: &HeaderMap) -> bool {
    let mut all = texts(headers);
    all.next().is_none_or(|first| first == "*/*" && all.next().is_none())
}

/// `true` if `headers` name types and leave no room for another by a wildcard, such as the lone star of Java's client.
pub(super) fn insists(headers: &HeaderMap) -> bool {
    let mut ranges = texts(headers).flat_map(|value| value.split(','));
    !ranges.any(|range| range.split(';').next().is_some_and(|media_type| media_type.contains('*')))
}

fn texts(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok())
}

/// A media range with its quality.
struct MediaRange<'a> {
    media_type: MediaType<'a>,
    quality: f32,
}

/// The weight that the headers give to one offer.
#[derive(Clone, Copy)]
struct Weight {
    quality: f32,
    precision: Precision,
}

/// The precision with which a range names the types that it matches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Precision {
    Anything,
    Type,
    Subtype,
}

impl Weight {
    fn order(self, other: Self) -> Ordering {
        self.quality.total_cmp(&other.quality).then(self.precision.cmp(&other.precision))
    }
}

impl<'a> MediaRange<'a> {
    fn of(media_type: MediaType<'a>) -> Option<Self> {
        let quality = match media_type.get_param(QUALITY) {
            None => 1.0,
            Some(quality) => quality.as_str().parse().ok().filter(|quality| (0.0..=1.0).contains(quality))?,
        };
        Some(Self { media_type, quality })
    }

    /// The precision with which it names `offer`, if it matches. Of its other parameters only the version counts: no
    /// offer comes in two charsets.
    fn precision(&self, offer: &MediaType<'_>) -> Option<Precision> {
        let any = |name: Name<'_>| name == "*";
        if let (Some(wanted), Some(version)) = (self.media_type.get_param(VERSION), offer.get_param(VERSION))
            && wanted != version
        {
            return None;
        }
        let MediaType { ty, subty, suffix, .. } = self.media_type;
        if any(ty) && any(subty) {
            Some(Precision::Anything)
        } else if ty != offer.ty {
            None
        } else if any(subty) {
            Some(Precision::Type)
        } else {
            (subty == offer.subty && suffix == offer.suffix).then_some(Precision::Subtype)
        }
    }
}

/// The most precise of the ranges that match `offer` decides.
fn weigh(ranges: &[MediaRange<'_>], offer: &MediaType<'_>) -> Option<Weight> {
    let weights = ranges
        .iter()
        .filter_map(|range| Some(Weight { precision: range.precision(offer)?, quality: range.quality }));
    weights
        .max_by(|one, other| one.precision.cmp(&other.precision).then(one.quality.total_cmp(&other.quality)))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    /// The preference of these headers among JSON, health+json, text and HTML.
    fn best(accept: &[&str]) -> &'static str {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT, HeaderValue::from_str(value).unwrap());
        }
        let offered = ["application/json", "application/health+json", "text/plain", "text/html"];
        let offered = offered.into_iter().map(|name| (name, MediaType::parse(name).unwrap()));
        preferred(&headers, offered).unwrap_or("none")
    }

    #[test]
    fn the_higher_quality_wins_in_any_position() {
        assert_eq!(best(&["text/plain;q=0.5, application/json;q=0.4"]), "text/plain");
        assert_eq!(best(&["application/json;q=0.4, text/plain;q=0.5"]), "text/plain");
        assert_eq!(best(&["application/json;q=0.4", "image/png, text/plain; Q=.5"]), "text/plain");
        assert_eq!(best(&["text/html;q=0.999, text/plain;q=0.998"]), "text/html");
    }

    #[test]
    fn among_equals_a_named_type_comes_before_a_wildcard_and_then_the_default() {
        assert_eq!(best(&["*/*"]), "application/json");
        assert_eq!(best(&["text/plain, application/json"]), "application/json");
        assert_eq!(best(&["*/*, text/html"]), "text/html");
        assert_eq!(best(&["text/*, application/*;q=0.9"]), "text/plain");
        assert_eq!(best(&["application/json, text/plain, */*"]), "application/json");
    }

    #[test]
    fn a_browser_wants_html_and_a_health_client_its_named_type() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";
        assert_eq!(best(&[browser]), "text/html");
        assert_eq!(best(&["application/health+json, application/json;q=0.9"]), "application/health+json");
        assert_eq!(best(&["Application/Health+JSON"]), "application/health+json");
        assert_eq!(best(&["text/plain; charset=\"utf-8,q=0\""]), "text/plain");
    }

    #[test]
    fn types_without_a_wildcard_leave_no_room_for_another() {
        let insists_on = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            insists(&headers)
        };
        for accept in ["text/html", "text/html;q=0.5, application/json; charset=\"*\"", ""] {
            assert!(insists_on(accept), "{accept}");
        }
        for accept in ["*/*", "text/html, */*;q=0.1", "text/html, *;q=.2", "text/html, image/*"] {
            assert!(!insists_on(accept), "{accept}");
        }
    }

    #[test]
    fn the_most_precise_range_decides_the_quality_of_a_type() {
        assert_eq!(best(&["application/json;q=0.1, */*"]), "application/health+json");
        assert_eq!(best(&["application/*;q=0, */*;q=0.1"]), "text/plain");
        assert_eq!(best(&["text/plain;q=0, text/*"]), "text/html");
    }

    #[test]
    fn a_range_with_a_version_takes_in_no_other_one() {
        let best = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            let offered =
                ["text/plain", "text/x; version=2"].map(|name| (name, MediaType::parse(name).unwrap()));
            preferred(&headers, offered.into_iter()).unwrap_or("none")
        };
        assert_eq!(best("text/x; version=1"), "none");
        assert_eq!(best("text/x; version=1, text/x; version=2; q=0.1"), "text/x; version=2");
        assert_eq!(best("text/x; Version=\"2\""), "text/x; version=2");
        assert_eq!(best("text/x"), "text/x; version=2");
        assert_eq!(best("text/plain; version=1"), "text/plain", "it is offered in no version");
    }

    #[test]
    fn a_refused_or_malformed_range_counts_for_nothing() {
        for accept in ["", ",", "*/*;q=0", "image/png", "text", "text/plain;q=2", "text/html;q=nan", "*/json"]
        {
            assert_eq!(best(&[accept]), "none", "{accept}");
        }
        // The header of Java's own client, with a star that is no media range.
        assert_eq!(best(&["text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"]), "text/html");
    }
}
