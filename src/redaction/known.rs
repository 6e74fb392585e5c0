//! The sentences with which servers and proxies answer while a connection is prepared. Of an answer to a command with
//! credentials, only these are shown.

use crate::config::MASK;

/// The text in place of the words behind a known beginning.
const CUT: &str = "(the rest is hidden, because it may contain credentials)";

/// The longest code, in bytes.
const LONGEST_CODE: usize = 20;

/// Each is a whole sentence, or the beginning of one. A `*` stands for a name of any length.
const SENTENCES: &[&str] = &[
    // Redis, Valkey, KeyDB and Dragonfly: credentials (`acl.c`, `networking.c`).
    "WRONGPASS invalid username-password pair",
    "WRONGPASS invalid username-password pair or user is disabled.",
    "NOAUTH Authentication required.",
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> \
     option can be used to authenticate the client and select the RESP protocol version at the same time",
    "ERR invalid password",
    "ERR Client sent AUTH, but no password is set",
    "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is \
     correct?",
    "NOPERM this user has no permissions to run the",
    "NOPERM this user has no permissions to run the 'auth' command",
    "NOPERM this user has no permissions to run the 'hello' command",
    "NOPERM this user has no permissions to run the 'role' command",
    "NOPERM this user has no permissions to run the 'role' command or its subcommand",
    "NOPERM this user has no permissions to run the 'select' command",
    "NOPERM this user has no permissions to run the 'select' command or its subcommand",
    "NOPERM User * has no permissions to run the 'role' command",
    "NOPERM User * has no permissions to run the 'select' command",
    "NOPERM No permissions to access database",
    // The same: commands, protocol and database.
    "ERR unknown command",
    "ERR wrong number of arguments",
    "ERR wrong number of arguments for 'auth' command",
    "ERR wrong number of arguments for 'hello' command",
    "ERR syntax error",
    "ERR Syntax error in HELLO option",
    "ERR Protocol version is not an integer or out of range",
    "NOPROTO sorry, this protocol version is not supported.",
    "NOPROTO unsupported protocol version",
    "ERR DB index is out of range",
    "ERR invalid DB index",
    "ERR SELECT is not allowed in cluster mode",
    "ERR value is not an integer or out of range",
    // The same: a server at its connection limit (`server.c`, `createSharedObjects`).
    "ERR max number of clients reached",
    "ERR max number of clients + cluster connections reached",
    "DENIED Redis is running in protected mode because protected mode is enabled",
    "DENIED Running in protected mode because protected mode is enabled",
    "LOADING Redis is loading the dataset in memory",
    "LOADING Valkey is loading the dataset in memory",
    "LOADING KeyDB is loading the dataset in memory",
    "LOADING Dragonfly is loading the dataset in memory",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "MASTERDOWN Link with MASTER is down and slave-serve-stale-data is set to 'no'.",
    "READONLY You can't write against a read only replica.",
    "READONLY You can't write against a read only slave.",
    "MISCONF Redis is configured to save RDB snapshots",
    "MISCONF Valkey is configured to save RDB snapshots",
    "BUSY Redis is busy running a script.",
    "BUSY Valkey is busy running a script.",
    "CLUSTERDOWN The cluster is down",
    "CLUSTERDOWN Hash slot not served",
    // Envoy and twemproxy.
    "no upstream host",
    "upstream failure",
    "upstream protocol error",
    "ERR Client sent AUTH, but no username-password pair is set",
    "ERR external authentication failed",
    "ERR Broken pipe",
    "ERR Connection refused",
    "ERR Connection reset by peer",
    "ERR Connection timed out",
    "ERR Host is down",
    "ERR Invalid argument",
    "ERR Network is down",
    "ERR Network is unreachable",
    "ERR No route to host",
    // memcached (`proto_text.c`, `memcached.c`), mcrouter, and the texts of binary answers.
    "CLIENT_ERROR authentication failure",
    "CLIENT_ERROR bad authentication token format",
    "CLIENT_ERROR bad command line format",
    "CLIENT_ERROR bad data chunk",
    "CLIENT_ERROR unauthenticated",
    "ERROR Too many open connections",
    "SERVER_ERROR Connection refused",
    "SERVER_ERROR Connection reset by peer",
    "SERVER_ERROR Connection timed out",
    "SERVER_ERROR No route to host",
    "SERVER_ERROR object too large for cache",
    "SERVER_ERROR out of memory storing object",
    "SERVER_ERROR unavailable",
    "Auth failure.",
    "Out of memory",
    "Unknown command",
];

/// The words for a line that begins with a known sentence, without the rest of the line; `None` for any other line.
pub(super) fn sentence(line: &str) -> Option<String> {
    let (sentence, rest) = longest(line)?;
    let sentence = sentence.replace('*', MASK);
    let is_all = rest.trim_matches(|char: char| char.is_whitespace() || char == '.').is_empty();
    Some(if is_all { sentence } else { format!("{sentence} {CUT}") })
}

/// The known sentence at the start of a line, up to the first name in it.
pub(super) fn beginning(line: &str) -> &'static str {
    longest(line).map_or("", |(sentence, _)| sentence.split('*').next().unwrap_or_default())
}

/// `true` if a word has the form of an error code.
pub(super) fn is_code(word: &str) -> bool {
    (1..=LONGEST_CODE).contains(&word.len())
        && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// The longest known sentence at the start of a line, and the rest of the line.
fn longest(line: &str) -> Option<(&'static str, &str)> {
    let begins = |sentence: &&'static str| {
        let rest = match sentence.split_once('*') {
            None => line.strip_prefix(*sentence)?,
            Some((before, behind)) => line.strip_prefix(before)?.split_once(behind)?.1,
        };
        let is_whole_word = !rest.starts_with(|char: char| char.is_alphanumeric());
        is_whole_word.then_some((*sentence, rest))
    };
    SENTENCES.iter().filter_map(begins).max_by_key(|(sentence, _)| sentence.len())
}
