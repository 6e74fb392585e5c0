//! The properties of configurations.

#![allow(clippy::expect_used, clippy::missing_panics_doc, reason = "a property that does not hold panics")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs, process, thread};

use crate::config::{self, ConfigError, Loaded, Source};

/// A password, and its place in a configuration: in any other place than a password's, none of it is in an error.
const SECRET: &str = "Zq7@Vw3=kX#n5://T";
const PLACE: &str = "<secret>";

/// Configurations. The first byte of the input tells its form: `t` for a TOML file, `j` for Django's `CACHES`, and otherwise the
/// environment.
///
/// An error points at a place of the file, and shows no password, nor five characters of one. A configuration that is shown can be
/// loaded, and is then shown the same.
pub fn config(input: &[u8]) {
    let Some((&form, text)) = input.split_first() else { return };
    let text = String::from_utf8_lossy(text).replace(PLACE, SECRET);
    let folder = Folder::new();
    let mut source = Source::default();
    match form {
        b't' => source.file = Some(folder.write("canary.toml", &text)),
        b'j' => {
            let path = folder.write("caches.json", &text).display().to_string();
            source.environment.insert("CACHE_CANARY_DJANGO_CACHES".to_owned(), path);
        }
        _ => source.environment = variables(&text),
    }
    match config::load(&source) {
        Ok(loaded) => show_again(&loaded, &folder),
        Err(error) => expect_places(&error, &text, &folder),
    }
}

/// `KEY=value` lines.
fn variables(text: &str) -> BTreeMap<String, String> {
    let variables = text.lines().filter_map(|line| line.split_once('='));
    // Any file of the machine could be named.
    let variables = variables.filter(|(name, _)| !name.ends_with("_CONFIG"));
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn show_again(loaded: &Loaded, folder: &Folder) {
    let shown = show(loaded);
    // Unlike a password, a token is never as short as what stands in its place.
    let text = shown.replace("token = \"***\"", "token = \"0123456789abcdef\"");
    let source = Source { file: Some(folder.write("shown.toml", &text)), ..Source::default() };
    match config::load(&source) {
        Ok(again) => assert_eq!(settings(&show(&again)), settings(&shown), "\n{text}"),
        Err(error) => {
            let is_empty = !text.contains("\n[caches.");
            assert!(is_empty, "{error}\n\n{text}");
        }
    }
}

fn show(loaded: &Loaded) -> String {
    let (mut shown, mut checked) = (Vec::new(), Vec::new());
    let written = super::show(loaded, &mut shown).and_then(|()| super::check(loaded, &mut checked));
    assert!(written.is_ok(), "memory takes everything");
    String::from_utf8_lossy(&shown).into_owned()
}

/// The settings of a shown configuration, without the origin of each, and without comments.
fn settings(shown: &str) -> Vec<&str> {
    let lines = shown.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.rsplit_once("  # ").map_or(line, |(setting, _)| setting).trim_end()).collect()
}

fn expect_places(error: &ConfigError, text: &str, folder: &Folder) {
    let said = error.to_string();
    for run in SECRET.as_bytes().windows(5) {
        let run = String::from_utf8_lossy(run);
        assert!(!said.contains(&*run), "{run} is shown:\n{said}\n\nof\n{text}");
    }
    let lines: Vec<_> = text.split('\n').collect();
    for name in ["canary.toml", "caches.json"] {
        let path = format!("{}:", folder.0.join(name).display());
        for place in said.lines().filter_map(|line| line.strip_prefix(&*path)) {
            let mut numbers = place.split(':').map(str::parse);
            let (Some(Ok(line)), Some(Ok(column))) = (numbers.next(), numbers.next()) else { continue };
            let (line, column): (usize, usize) = (line, column);
            let length = lines.get(line - 1).map(|line| line.chars().count());
            assert!(length.is_some_and(|length| (1..=length + 1).contains(&column)), "{place}\n\nof\n{text}");
        }
    }
}

/// A folder that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("cache-canary-fuzzing-{}-{:?}", process::id(), thread::current().id());
        let path = env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file in it");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It is in the folder of temporary files.
        let _ = fs::remove_dir_all(Path::new(&self.0));
    }
}
