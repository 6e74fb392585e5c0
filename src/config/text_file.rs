//! Reading small text files, and secrets from them.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::place::ConfigProblem;
use super::value::Value;

/// The most bytes that are read of a file, so that `/dev/zero` for a file does not fill the memory.
pub(super) const MAX_FILE: u64 = 1 << 20;

/// Reads a whole text file.
pub(super) fn read(path: &Path) -> io::Result<String> {
    read_up_to(path, MAX_FILE)
}

/// Reads a whole text file of at most `most` bytes.
pub(super) fn read_up_to(path: &Path, most: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(most + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most {
        let error = format!("it is larger than {} MiB", most >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, error));
    }
    Ok(text)
}

/// The mark that some editors put at the head of a file (Unicode Standard, section 23.8).
pub(super) const BOM: char = '\u{feff}';

/// Reads a secret from a file, without the mark at its head, and without the newline that editors and `echo` put at its end.
fn read_secret(path: &Path) -> io::Result<String> {
    let mut secret = read(path)?.trim_start_matches(BOM).to_owned();
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
pub(super) fn secret(value: &Value, files: &mut Vec<PathBuf>) -> Result<String, ConfigProblem> {
    let path = value.place.resolve(value.text()?);
    let secret = read_secret(&path).map_err(|error| {
        value.problem(format_args!("cannot read this file, which must contain only the secret: {error}"))
    })?;
    files.push(path);
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::read_secret;

    #[test]
    fn a_secret_is_read_without_the_mark_at_its_head_and_the_newline_at_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        for (written, read) in [
            ("\u{feff}sesame\r\n", "sesame"),
            ("sesame\n\n", "sesame\n"),
            ("ses\u{feff}ame", "ses\u{feff}ame"),
        ] {
            std::fs::write(&file, written).unwrap();
            assert_eq!(read_secret(&file).unwrap(), read);
        }
        std::fs::write(&file, "\u{feff}\n").unwrap();
        assert!(read_secret(&file).is_err());
    }
}
