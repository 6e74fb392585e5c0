//! Secrets, and reading them from files.

use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::place::ConfigProblem;
use super::value::Value;

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

/// What stands in the place of something that is not shown.
pub(crate) const MASK: &str = "***";

/// The most bytes that are read of a file, so that `/dev/zero` for a file does not fill the memory.
const MAX_FILE: u64 = 1 << 20;

/// Reads a whole text file.
pub(super) fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(text)
}

/// Reads a secret from a file, without the newline that editors and `echo` put at its end.
fn read_secret(path: &Path) -> io::Result<String> {
    let mut secret = read_file(path)?;
    if secret.ends_with('\n') {
        secret.pop();
        if secret.ends_with('\r') {
            secret.pop();
        }
    }
    if secret.is_empty() { Err(io::Error::other("it is empty")) } else { Ok(secret) }
}

/// The secret in the file that a value names, which is noted among the `files`. The path is not repeated: it may be
/// the secret itself, given to the wrong key.
pub(super) fn named_in(value: &Value, files: &mut Vec<PathBuf>) -> Result<String, ConfigProblem> {
    let path = value.place.resolve(value.text()?);
    let secret = read_secret(&path).map_err(|error| {
        value.problem(format_args!(
            "cannot read the file named here, which is to hold the secret and nothing else: {error}"
        ))
    })?;
    files.push(path);
    Ok(secret)
}
