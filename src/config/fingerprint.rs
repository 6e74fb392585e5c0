//! [`CacheConfig::fingerprint`]: the test for an unchanged cache when its configuration is read again.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::{Backend, CacheConfig};

/// The key of every fingerprint. It is drawn in each process, so that passwords cannot be tried against a
/// fingerprint that is seen.
static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The most bytes that are read of a file, so that `/dev/zero` for a file does not go on for ever.
const MAX_FILE: u64 = 16 << 20;

/// The contents of some files when they were read, or the failure to read them: a number in the place of the contents,
/// which may be large.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Contents(u64);

/// The files of certificates that were looked into, each once, even if several caches name it.
#[derive(Default)]
pub(super) struct CertificateFiles(HashMap<PathBuf, u64>);

impl CertificateFiles {
    /// The present contents of these files.
    pub(super) fn contents<'a>(&mut self, paths: impl IntoIterator<Item = &'a PathBuf>) -> Contents {
        let read = |path: &Path| KEY.hash_one(read(path).map_err(|error| error.kind()));
        let one = |path: &PathBuf| *self.0.entry(path.clone()).or_insert_with_key(|path| read(path));
        let all: Vec<u64> = paths.into_iter().map(one).collect();
        if all.is_empty() { Contents::default() } else { Contents(KEY.hash_one(all)) }
    }
}

impl CacheConfig {
    /// A number that two caches of one process have in common only if everything about them is the same, including
    /// their passwords and the contents of their certificates' files.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        KEY.hash_one(self)
    }
}

impl Backend {
    /// The files of the certificates and keys with which TLS is spoken.
    pub(super) fn certificate_files(&self) -> impl Iterator<Item = &PathBuf> {
        self.tls().into_iter().flat_map(|tls| {
            let client = tls.client.iter().flat_map(|client| [&client.cert_file, &client.key_file]);
            tls.ca_file.iter().chain(client)
        })
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}
