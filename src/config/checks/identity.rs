//! `identity` in `[caches.ALIAS]`: the marker by which a server is known again.

use std::time::Duration;

use super::IdentityConfig;
use super::table::LONGEST;
use crate::config::cache::reader::{CacheReader, refusal};
use crate::config::place::ConfigProblem;
use crate::config::value::{Value, ValueKind as Typed};
use crate::config::{Backend, keys};

/// The check; `None` if it is switched off.
pub(in crate::config) fn read(
    reading: &mut CacheReader,
    value: &Value,
    backend: &Backend,
) -> Result<Option<IdentityConfig>, ConfigProblem> {
    if let Backend::Unchecked(reason) = backend {
        return Err(value.problem(refusal(reason, "has no server to identify", "identity")));
    }
    let mut identity = IdentityConfig { number: None, lost_for: Duration::from_mins(10) };
    match (&value.kind, value.boolean()) {
        (Typed::Table(table), _) => {
            table.only(keys::IDENTITY)?;
            identity.number =
                table.get("number").map(|value| number("identity.number", value)).transpose()?;
            if let Some(value) = table.get("lost_for") {
                identity.lost_for = value.duration("identity.lost_for", Duration::from_secs(1), LONGEST)?;
            }
        }
        (_, Some(true)) => {}
        (_, Some(false)) => return Ok(None),
        (_, None) => identity.number = Some(number("identity", value)?),
    }
    reading.came_from(&["identity.number", "identity.lost_for"], &value.place);
    Ok(Some(identity))
}

/// The number of a marker, as `check --explain` shows it.
fn number(key: &str, value: &Value) -> Result<u64, ConfigProblem> {
    let is_number = |text: &&str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let text = value.text().ok().filter(is_number);
    let number = text.and_then(|text| u64::from_str_radix(text, 16).ok());
    let or = if key == "identity" { "true, a table, or " } else { "" };
    number.ok_or_else(|| {
        value.problem(format_args!(
            "`{key}` must be {or}a marker's number, 16 hexadecimal digits in quotes such as \"9f86d081884c7d65\""
        ))
    })
}
