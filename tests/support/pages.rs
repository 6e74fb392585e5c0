//! Files that are made from the code.

use std::fs;
use std::path::Path;

/// Compares a file of the repository with what the code makes now, or with `UPDATE=1` rewrites it.
pub fn compare(path: &str, made: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
        fs::write(file, made).expect("to write");
    } else {
        let written = fs::read_to_string(&file).unwrap_or_default();
        assert!(written == made, "{path} is not what the code makes: UPDATE=1 writes it anew");
    }
}
