//! The properties of everything that reads the bytes of others, each for any bytes.
//!
//! Each is a function in a file `fuzzing.rs` beside its readers, and panics if the property does not hold. cargo-fuzz searches for such
//! bytes: see `fuzz/README.md`. The tests below try mutations of the same corpus.

pub use crate::cache::memcached::fuzzing::memcached;
pub use crate::cache::redis::fuzzing::resp;
pub use crate::canary::fuzzing::canary;
pub use crate::cli::config::fuzzing::config;
pub use crate::http::fuzzing::http;
pub use crate::pem::fuzzing::certificates;
pub use crate::redaction::fuzzing::redaction;
pub use crate::topology::fuzzing::topology;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::collection::vec;
    use proptest::prelude::{Strategy, any, proptest};
    use proptest::sample::{Index, select};
    use proptest::test_runner::{Config, RngSeed};

    /// The files of a corpus. Of `config` they are also the examples of the tests, each behind the letter of its form.
    fn corpus(target: &str) -> Vec<Vec<u8>> {
        let mut corpus = files(&format!("fuzz/corpus/{target}"), None);
        if target == "config" {
            for (form, extension) in [(b't', "toml"), (b'j', "json"), (b'e', "env")] {
                let examples = ["valid", "invalid"].map(|folder| format!("tests/config/{folder}"));
                let examples = examples.iter().flat_map(|folder| files(folder, Some(extension)));
                corpus.extend(examples.map(|text| [&[form], &*text].concat()));
            }
        }
        assert!(corpus.len() > 5, "{target}");
        corpus
    }

    fn files(folder: &str, extension: Option<&str>) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let chosen = paths
            .filter(|path| extension.is_none_or(|wanted| path.extension().is_some_and(|own| own == wanted)));
        chosen.map(|path| fs::read(path).unwrap()).collect()
    }

    /// A file of a corpus, in which some pieces are replaced by pieces of other files or by any bytes.
    fn inputs(target: &str) -> impl Strategy<Value = Vec<u8>> {
        let corpus = corpus(target);
        let of_others =
            (select(corpus.clone()), any::<Index>(), 0..64_usize).prop_map(|(file, at, length)| {
                let from = at.index(file.len());
                file[from..file.len().min(from + length)].to_vec()
            });
        let piece = proptest::prop_oneof![of_others, vec(any::<u8>(), 0..4)];
        let edits = vec((any::<Index>(), 0..32_usize, piece), 0..6);
        (select(corpus), edits).prop_map(|(mut input, edits)| {
            for (at, length, piece) in edits {
                let from = at.index(input.len() + 1);
                input.splice(from..input.len().min(from + length), piece);
            }
            input
        })
    }

    /// The same inputs in every run, unless `PROPTEST_RNG_SEED` asks for others. A failure is told with its smallest input, which goes
    /// into a test of its reader.
    fn cases(cases: u32) -> Config {
        let default = Config::default();
        let rng_seed =
            if default.rng_seed == RngSeed::Random { RngSeed::Fixed(18) } else { default.rng_seed };
        Config { cases, rng_seed, failure_persistence: None, ..default }
    }

    #[test]
    fn each_file_of_a_corpus_has_its_property() {
        for (target, property) in [
            ("resp", super::resp as fn(&[u8])),
            ("memcached", super::memcached),
            ("topology", super::topology),
            ("config", super::config),
            ("http", super::http),
            ("canary", super::canary),
            ("certificates", super::certificates),
            ("redaction", super::redaction),
        ] {
            for input in corpus(target) {
                property(&input);
            }
        }
    }

    proptest! {
        #![proptest_config(cases(500))]

        #[test]
        fn an_answer_of_redis_is_bounded_and_the_same_at_any_cut(input in inputs("resp")) {
            super::resp(&input);
        }

        #[test]
        fn an_answer_of_memcached_is_bounded_and_the_same_at_any_cut(input in inputs("memcached")) {
            super::memcached(&input);
        }

        #[test]
        fn a_server_that_is_named_can_be_dialed(input in inputs("topology")) {
            super::topology(&input);
        }

        #[test]
        fn a_request_gets_an_answer_and_no_more_than_its_caller_may_see(input in inputs("http")) {
            super::http(&input);
        }

        #[test]
        fn an_error_in_a_configuration_has_a_place_and_no_secret(input in inputs("config")) {
            super::config(&input);
        }

        #[test]
        fn a_value_is_intact_only_if_a_canary_was_written_so(input in inputs("canary")) {
            super::canary(&input);
        }

        #[test]
        fn a_certificate_that_the_library_takes_is_read(input in inputs("certificates")) {
            super::certificates(&input);
        }

        #[test]
        fn five_characters_of_a_secret_are_never_shown(input in inputs("redaction")) {
            super::redaction(&input);
        }
    }
}
