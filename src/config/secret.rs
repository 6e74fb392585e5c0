//! [`Secret`]: a text that cannot be printed.

use std::hash::{Hash, Hasher};

use secrecy::{ExposeSecret, SecretString};

/// A password or a token: it is compared and hashed as the text that it is, and cannot be printed.
#[derive(Debug, Clone)]
pub struct Secret(SecretString);

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl ExposeSecret<str> for Secret {
    fn expose_secret(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose_secret() == other.expose_secret()
    }
}

impl Eq for Secret {}

impl Hash for Secret {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expose_secret().hash(state);
    }
}

/// The text in the place of a hidden value.
pub(crate) const MASK: &str = "***";
