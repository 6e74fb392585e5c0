//! [`Vocabulary`]: the words with which servers and proxies refuse a command, as data for each protocol.

use crate::outcome::Cause;

/// The words of one program.
pub(super) struct Vocabulary {
    /// The program, its version, and the file of its source that has the words.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "it names the source, for readers and for a failing test")
    )]
    pub(super) source: &'static str,
    /// The beginnings of errors, and their causes.
    pub(super) lines: &'static [(&'static str, Cause)],
}

/// The meaning of a line by its longest known beginning, which ends at the end of a word.
pub(super) fn meaning<'a, T: Copy + 'a>(
    known: impl IntoIterator<Item = &'a (&'static str, T)>,
    line: &str,
) -> Option<T> {
    let begins = |known: &str| line.strip_prefix(known).is_some_and(|rest| !rest.starts_with(is_of_word));
    let known = known.into_iter().filter(|(known, _)| begins(known));
    known.max_by_key(|(known, _)| known.len()).map(|(_, meaning)| *meaning)
}

fn is_of_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Vocabulary;
    use crate::checker::Checker;
    use crate::config::{Backend, CacheConfig, Config};
    use crate::embedded::{EmbeddedServer, InjectedFault};

    /// Lets the server of this backend say each known line, in each of its spellings, and expects the cause and the words
    /// at the first check.
    pub(in crate::cache) async fn expect_each_cause(
        backend: Backend,
        server: &EmbeddedServer,
        known: &[Vocabulary],
        spellings: impl Fn(&str) -> Vec<String>,
    ) {
        let caches = vec![CacheConfig::new("main".try_into().unwrap(), backend)];
        let checker = Checker::new(&Config { max_age: Duration::ZERO, caches, ..Config::default() }).unwrap();
        let look = async || {
            let report = checker.check(&checker.catalog().all(), Instant::now()).await;
            let outcome = &report.outcomes[0];
            (outcome.cause(), outcome.nodes[0].fault.as_ref().map(|fault| fault.said.to_string()))
        };
        for Vocabulary { source, lines } in known {
            for (line, cause) in *lines {
                for spelling in spellings(line) {
                    assert_eq!(look().await, (None, None), "before {line}");
                    server.set_fault(InjectedFault::Saying(spelling)).unwrap();
                    let (met, said) = look().await;
                    assert_eq!(met, Some(*cause), "{line}, {source}");
                    assert!(said.is_some_and(|said| said.starts_with(line)), "{line}, {source}");
                    server.repair().unwrap();
                }
            }
        }
    }
}
