//! [`Alias`]: the operator's name for a configured cache.

use std::fmt;
use std::sync::Arc;

/// The operator's name for a configured cache, as in Django's `CACHES`.
///
/// It stands in a URL's path, in a cache's key and in a metric's label, so it is 1 to 64 ASCII
/// letters, digits, `_`, `-` and `.`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Alias(Arc<str>);

/// The most characters that an alias may have.
const MAX_LEN: usize = 64;

/// The error for a name that cannot be an alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an alias must have 1 to {MAX_LEN} letters, digits, `_`, `-` or `.`")]
pub struct InvalidAlias;

impl Alias {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for Alias {
    type Error = InvalidAlias;

    fn try_from(name: &str) -> Result<Self, InvalidAlias> {
        let fits = (1..=MAX_LEN).contains(&name.len());
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        if fits && plain { Ok(Self(name.into())) } else { Err(InvalidAlias) }
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
