//! Leaks that are planted in the source, one at a time, to show that the search finds each.
//!
//! ```sh
//! SECRETS_MUTATIONS=1 cargo test --test secrets mutations -- --nocapture
//! ```
//!
//! The source is copied to `target/secrets`, which has a target folder of its own, so that each leak is an incremental build.

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The variable without which nothing is built.
const VARIABLE: &str = "SECRETS_MUTATIONS";

/// A leak: a text of a file, and the text that takes its place.
struct Mutation {
    name: &'static str,
    /// The test that finds it.
    found_by: &'static str,
    /// A part of the words with which it does.
    shown: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

const CONFIGURATION: &str = "search::no_output_shows_a_secret_of_a_configuration_at_any_log_level";
const SERVERS: &str = "search::no_output_shows_a_secret_that_a_server_quotes_in_any_spelling";
const MISTAKES: &str = "search::no_message_about_a_mistake_shows_a_secret_beside_it";

const MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "Debug prints a secret",
        found_by: CONFIGURATION,
        shown: "Debug of the configuration: ",
        file: "src/config/secret.rs",
        from: "#[derive(Debug, Clone)]\npub struct Secret(SecretString);",
        to: "#[derive(Clone)]\npub struct Secret(SecretString);\n\n\
             impl std::fmt::Debug for Secret {\n    \
             fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {\n        \
             f.write_str(self.expose_secret())\n    }\n}",
    },
    Mutation {
        name: "a secret is logged at the level debug when it is read",
        found_by: CONFIGURATION,
        shown: "a secret: ",
        file: "src/config/secret.rs",
        from: "    fn from(text: &str) -> Self {\n",
        to: "    fn from(text: &str) -> Self {\n        tracing::debug!(\"a secret: {text:?}\");\n",
    },
    Mutation {
        name: "the last five characters of a secret are logged when it is compared",
        found_by: CONFIGURATION,
        shown: "compared ...",
        file: "src/config/secret.rs",
        from: "        self.expose_secret() == other.expose_secret()",
        to: "        let text = self.expose_secret();\n        \
             let at = text.char_indices().rev().nth(4).map_or(0, |(at, _)| at);\n        \
             tracing::debug!(\"compared ...{}\", &text[at..]);\n        text == other.expose_secret()",
    },
    Mutation {
        name: "a secret is logged in hexadecimal when it is hashed",
        found_by: CONFIGURATION,
        shown: "hashed ",
        file: "src/config/secret.rs",
        from: "        self.expose_secret().hash(state);",
        to: "        let hex: String = self.expose_secret().bytes().map(|byte| format!(\"{byte:02x}\")).collect();\n        \
             tracing::debug!(\"hashed {hex}\");\n        self.expose_secret().hash(state);",
    },
    Mutation {
        name: "a secret that is no JSON Web Token is printed",
        found_by: CONFIGURATION,
        shown: "no token: ",
        file: "src/config/secret.rs",
        from: "let &[_, claims, _] = parts.as_slice() else { return None };",
        to: "let &[_, claims, _] = parts.as_slice() else {\n            \
             crate::telemetry::say(&format!(\"no token: {}\\n\", parts.join(\".\")));\n            return None;\n        };",
    },
    Mutation {
        name: "`config show` prints a password",
        found_by: CONFIGURATION,
        shown: "[\"config\", \"show\"], output: ",
        file: "src/cli/config.rs",
        from: "            Some(Password::Fixed(_)) => {\n                let key = format!(\"{prefix}password\");\n                \
               self.value(&key, quoted(MASK), &path(&key));",
        to: "            Some(Password::Fixed(secret)) => {\n                let key = format!(\"{prefix}password\");\n                \
             self.value(&key, quoted(secret.expose_secret()), &path(&key));",
    },
    Mutation {
        name: "the words of servers are not redacted",
        found_by: SERVERS,
        shown: "quoted as a part: ",
        file: "src/redaction.rs",
        from: "        let Some(hidden) = &self.0 else { return text.into() };\n        let mut end",
        to: "        let Some(hidden) = self.0.as_ref().filter(|_| false) else { return text.into() };\n        let mut end",
    },
    Mutation {
        name: "a percent-encoded or escaped secret in the words of a server is not known",
        found_by: SERVERS,
        shown: "quoted as percent-encoded: ",
        file: "src/redaction/runs.rs",
        from: "let exact = [plain(text), unescaped(text)];",
        to: "let _ = unescaped;\n    let exact = [plain(text), plain(text)];",
    },
    Mutation {
        name: "an error shows the whole line of the file",
        found_by: MISTAKES,
        shown: "@host:99999/0",
        file: "src/config/error.rs",
        from: "        Some(cut) if comment.is_none_or(|comment| cut <= comment) => (&line[..cut], true),",
        to: "        Some(cut) if comment.is_none_or(|comment| cut <= comment) => (line, true),",
    },
    Mutation {
        name: "the parser of TOML quotes the line that it cannot read",
        found_by: MISTAKES,
        shown: "| password = ",
        file: "src/config/source/file.rs",
        from: "let message = error.message().trim_end().replace('\\n', \", \");",
        to: "let message = error.to_string();",
    },
    Mutation {
        name: "`check --explain` tells the password that is sent",
        found_by: CONFIGURATION,
        shown: "[\"check\", \"--explain\"], output: ",
        file: "src/cache/redis/login.rs",
        from: "            explain(progress, &answer, || (format!(\"AUTH {MASK}\"), \"OK\"));\n            let answer = answer",
        to: "            let sent = password.map(|secret| secret.expose_secret().to_owned()).unwrap_or_default();\n            \
             explain(progress, &answer, || (format!(\"AUTH {sent}\"), \"OK\"));\n            let answer = answer",
    },
    Mutation {
        name: "a wrong token is logged",
        found_by: "search::no_output_shows_a_secret_of_a_caller",
        shown: "a token: ",
        file: "src/http/token.rs",
        from: "    credentials.map(|shown| shown.ct_eq(expected).into())",
        to: "    let credentials = credentials.inspect(|shown| tracing::debug!(\"a token: {}\", String::from_utf8_lossy(shown)));\n    \
             credentials.map(|shown| shown.ct_eq(expected).into())",
    },
    Mutation {
        name: "programs inherit the whole environment",
        found_by: "children::a_program_for_the_password_inherits_the_environment_without_the_secrets_of_the_sidecar",
        shown: "CACHE_URL_SESSIONS (",
        file: "src/cache/redis/credentials.rs",
        from: "        command.env_remove(name);",
        to: "        let _ = name;",
    },
    Mutation {
        name: "memory is not protected",
        found_by: "memory::no_process_of_the_same_user_can_read_the_memory_or_the_environment",
        shown: "environ of the sidecar can be opened",
        file: "src/cli/memory.rs",
        from: "    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;",
        to: "    set_dumpable_behavior(DumpableBehavior::Dumpable)?;",
    },
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_planted_leak_has_its_place_in_the_source() {
    for Mutation { name, file, from, to, .. } in MUTATIONS {
        let source = fs::read_to_string(root().join(file)).unwrap();
        assert_eq!(source.matches(from).count(), 1, "{name}: {file}");
        assert_ne!(from, to);
    }
}

#[test]
fn the_search_finds_every_planted_leak() {
    if env::var_os(VARIABLE).is_none() {
        let _ = writeln!(
            io::stderr(),
            "skipped: {VARIABLE} is not set, and this builds the program once for each leak"
        );
        return;
    }
    let copy = Copy::make();
    let began = Instant::now();
    let (is_clean, said) = copy.search(&["--skip", "mutations::"]);
    assert!(is_clean, "without a leak: {said}");
    let _ = writeln!(io::stdout(), "without a leak: nothing is found, {:.0?}", began.elapsed());
    let mut missed = Vec::new();
    for mutation in MUTATIONS {
        let began = Instant::now();
        let (is_clean, said) = copy.with(mutation, || copy.search(&["--exact", mutation.found_by]));
        let ran = said.contains("test result: ") && said.contains("running 1 test");
        assert!(ran, "{}: the program does not build: {said}", mutation.name);
        let found = said.lines().find(|line| line.contains(mutation.shown)).filter(|_| !is_clean);
        let by = found.map_or("missed", str::trim);
        let _ = writeln!(io::stdout(), "{}: {:.0?}: {by:.100}", mutation.name, began.elapsed());
        missed.extend(found.is_none().then_some(mutation.name));
    }
    assert!(missed.is_empty(), "the search misses {missed:?}");
    let _ = writeln!(io::stdout(), "secrets: {} planted leaks, {} found", MUTATIONS.len(), MUTATIONS.len());
}

/// A copy of the source.
struct Copy(PathBuf);

impl Copy {
    fn make() -> Self {
        let copy = root().join("target/secrets/source");
        let _ = fs::remove_dir_all(&copy);
        copy_folder(root(), &copy);
        Self(copy)
    }

    /// Does something while a leak is in the copy.
    fn with<T>(&self, Mutation { file, from, to, .. }: &Mutation, work: impl FnOnce() -> T) -> T {
        let path = self.0.join(file);
        let source = fs::read_to_string(&path).unwrap();
        fs::write(&path, source.replace(from, to)).unwrap();
        let result = work();
        fs::write(&path, source).unwrap();
        result
    }

    /// Builds the copy and runs these tests there: `true` if nothing is found, and the output of the tests.
    fn search(&self, tests: &[&str]) -> (bool, String) {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["test", "--quiet", "--locked", "--test", "secrets", "--"]).args(tests);
        cargo.current_dir(&self.0).env("CARGO_TARGET_DIR", root().join("target/secrets/target"));
        let output = cargo.env_remove(VARIABLE).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }
}

/// Copies what is built and tested, and nothing that a build made.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if ["target", ".git"].iter().any(|skipped| name == *skipped) {
            continue;
        }
        if path.is_dir() {
            copy_folder(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}
