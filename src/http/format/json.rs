//! The common parts of the representations in JSON.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::outcome::NodeOutcome;

/// A document as one line.
pub(super) fn line(document: &impl Serialize) -> String {
    // Every map has text for keys, and every number is finite, so JSON can express all of it.
    let mut line = serde_json::to_string(document).unwrap_or_default();
    line.push('\n');
    line
}

/// An object as one line. The default representation is written this way, member by member: by `serde`, in a build for size, that of
/// one cache takes three times as many instructions.
pub(super) fn object(write: impl FnOnce(&mut Object<'_>)) -> String {
    let mut line = Vec::with_capacity(512);
    Object::write(&mut line, write);
    line.push(b'\n');
    // It is put together from texts alone.
    String::from_utf8(line).unwrap_or_default()
}

/// An object that is being written.
pub(super) struct Object<'a> {
    json: &'a mut Vec<u8>,
    is_empty: bool,
}

/// A member of an object, whose value comes next.
pub(super) struct Member<'a>(&'a mut Vec<u8>);

/// The next member of an object, with this literal for a name.
macro_rules! member {
    ($object:expr, $name:literal) => {
        $object.next(concat!(",\"", $name, "\":"))
    };
}

pub(super) use member;

impl Object<'_> {
    fn write(json: &mut Vec<u8>, write: impl FnOnce(&mut Object<'_>)) {
        json.push(b'{');
        write(&mut Object { json, is_empty: true });
        json.push(b'}');
    }

    /// The next member. The concatenation of `name` is a word of ours or an alias, of which none has to be escaped.
    pub(super) fn member<const N: usize>(&mut self, name: [&str; N]) -> Member<'_> {
        self.separate(",\"");
        for part in name {
            debug_assert!(!has_to_be_escaped(part), "{part:?}");
            self.json.extend_from_slice(part.as_bytes());
        }
        self.json.extend_from_slice(b"\":");
        Member(self.json)
    }

    /// For [`member!`], the next member: `head` is its name with all that stands around it behind another member. In a build for
    /// size, each text that is written by itself takes fifty instructions.
    pub(super) fn next(&mut self, head: &'static str) -> Member<'_> {
        self.separate(head);
        Member(self.json)
    }

    /// Writes a text that begins with a comma, which the first member does not have.
    fn separate(&mut self, text: &str) {
        self.json.extend_from_slice(&text.as_bytes()[usize::from(self.is_empty)..]);
        self.is_empty = false;
    }
}

impl Member<'_> {
    /// Text of which nothing has to be escaped.
    pub(super) fn word(self, word: &str) {
        write_word(self.0, word);
    }

    /// Any text.
    pub(super) fn text(self, text: &str) {
        if has_to_be_escaped(text) { self.value(&text) } else { self.word(text) }
    }

    /// `true` or `false`.
    pub(super) fn flag(self, flag: bool) {
        self.0.extend_from_slice(if flag { b"true" } else { b"false" });
    }

    /// A time in milliseconds with at most three decimals, rounded.
    pub(super) fn milliseconds(self, time: Duration) {
        let rounded = u64::from((time.subsec_nanos() + 500) / 1000);
        let micros = time.as_secs().saturating_mul(1_000_000).saturating_add(rounded);
        let mut digits = itoa::Buffer::new();
        self.0.extend_from_slice(digits.format(micros / 1000).as_bytes());
        // With its zeros, behind a one.
        let decimals = digits.format(1000 + micros % 1000).trim_end_matches('0').as_bytes();
        self.0.push(b'.');
        self.0.extend_from_slice(decimals.get(1..).filter(|decimals| !decimals.is_empty()).unwrap_or(b"0"));
    }

    /// An object.
    pub(super) fn object(self, write: impl FnOnce(&mut Object<'_>)) {
        Object::write(self.0, write);
    }

    /// A list of objects, one for each item.
    pub(super) fn objects<T>(self, items: &[T], write: impl Fn(&mut Object<'_>, &T)) {
        self.0.push(b'[');
        for (place, item) in items.iter().enumerate() {
            if place > 0 {
                self.0.push(b',');
            }
            Object::write(self.0, |json| write(json, item));
        }
        self.0.push(b']');
    }

    /// Any other value.
    pub(super) fn value(self, value: &impl Serialize) {
        // See `line`.
        self.0.extend_from_slice(&serde_json::to_vec(value).unwrap_or_default());
    }
}

fn write_word(json: &mut Vec<u8>, word: &str) {
    debug_assert!(!has_to_be_escaped(word), "{word:?}");
    json.push(b'"');
    json.extend_from_slice(word.as_bytes());
    json.push(b'"');
}

/// Nothing else has to be escaped (RFC 8259, section 7).
fn has_to_be_escaped(text: &str) -> bool {
    text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\')
}

/// Milliseconds with three decimals.
pub(super) fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// A map that is written in its given order.
pub(super) struct Entries<K, V>(Vec<(K, V)>);

impl<K, V> Default for Entries<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K, V> FromIterator<(K, V)> for Entries<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl<K: Serialize, V: Serialize> Serialize for Entries<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// The details of a node.
#[derive(Serialize)]
pub(super) struct NodeDetail<'a> {
    node: &'a str,
    role: &'static str,
    status: &'static str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    fault: Option<FaultDetail<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_ms: Option<f64>,
    phases_ms: Entries<&'static str, f64>,
}

#[derive(Serialize)]
struct FaultDetail<'a> {
    cause: &'static str,
    phase: &'static str,
    said: &'a str,
}

impl<'a> NodeDetail<'a> {
    pub(super) fn of(node: &'a NodeOutcome) -> Self {
        Self {
            node: &node.node,
            role: node.role.name(),
            status: node.status().as_str(),
            fault: node.fault.as_ref().map(|fault| FaultDetail {
                cause: fault.cause.name(),
                phase: fault.phase.name(),
                said: &fault.said,
            }),
            lag_ms: node.lag.map(milliseconds),
            phases_ms: node.phases.iter().map(|(phase, time)| (phase.name(), milliseconds(time))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_has_its_members_in_their_order_and_any_text_in_them() {
        let line = object(|json| {
            member!(json, "status").word("UP");
            member!(json, "empty").object(|_| {});
            member!(json, "nodes").objects(&[1, 2], |json, number| member!(json, "number").value(number));
            member!(json, "flags").value(&[true, false]);
        });
        let expected =
            r#"{"status":"UP","empty":{},"nodes":[{"number":1},{"number":2}],"flags":[true,false]}"#;
        assert_eq!(line, format!("{expected}\n"));
        let texts =
            ["", "a \"quoted\" \\ text", "\0\u{1}\n\r\t\u{8}\u{c}\u{1f}", "\u{7f}\u{2028}\u{1f980}</script>"];
        for text in texts {
            let line = object(|json| member!(json, "text").text(text));
            assert_eq!(line, super::line(&json!({ "text": text })), "{text:?}");
        }
    }

    #[test]
    fn milliseconds_are_written_as_the_shortest_number_with_three_decimals() {
        for nanos in [
            0,
            499,
            500,
            1_000,
            999_499,
            999_500,
            1_000_000,
            1_010_000,
            1_200_000,
            631_000,
            86_400_123_456_789,
        ] {
            let time = Duration::from_nanos(nanos);
            let line = object(|json| member!(json, "ms").milliseconds(time));
            assert_eq!(line, super::line(&json!({ "ms": milliseconds(time) })), "{nanos} ns");
        }
        let longest = object(|json| member!(json, "ms").milliseconds(Duration::MAX));
        assert_eq!(longest, format!("{{\"ms\":{}.615}}\n", u64::MAX / 1000));
    }
}
