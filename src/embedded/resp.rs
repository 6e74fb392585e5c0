//! RESP, as far as a cache's clients need it: the serialization protocol of the Redis documentation, versions
//! 2 and 3. Answers are those of Redis 7.

use std::str;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::answer::{ParseStep, Reply};
use super::fault::{InjectedRefusal, StoreView};
use super::store::{Condition, DATABASES, Effect, Item, MAX_VALUE};

/// The release that these answers imitate, as INFO and HELLO report it.
const VERSION: &str = "7.0.15";

/// The longest line, in bytes, and the most words that a command may have.
const MAX_LINE: usize = 64 << 10;
const MAX_WORDS: i64 = 1024;

const SYNTAX_ERROR: &str = "-ERR syntax error";
const NOT_AN_INTEGER: &str = "-ERR value is not an integer or out of range";
const WRONG_PASSWORD: &str = "-WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD_CONFIGURED: &str = "-ERR AUTH <password> called without any password configured for the default \
                                      user. Are you sure your configuration is correct?";

/// The settings of one connection.
#[derive(Debug)]
pub(super) struct RespSession {
    id: u64,
    database: usize,
    resp3: bool,
}

/// A command's name and arguments, and its length in bytes; `None` while it is incomplete. The error is sent
/// before the connection is closed.
type Parsed<'a> = Result<Option<(Vec<&'a [u8]>, usize)>, String>;

impl RespSession {
    pub(super) fn new(id: u64) -> Self {
        Self { id, database: 0, resp3: false }
    }

    pub(super) fn step(&mut self, input: &[u8], view: &mut StoreView<'_>) -> ParseStep {
        match parse(input) {
            Ok(None) => ParseStep::Incomplete,
            Ok(Some((words, length))) => match words.split_first() {
                None => ParseStep::Skip(length),
                Some((name, arguments)) => ParseStep::Command(length, self.answer(name, arguments, view)),
            },
            Err(error) => {
                ParseStep::Command(input.len(), Reply::last(line(&format!("-ERR Protocol error: {error}"))))
            }
        }
    }

    fn answer(&mut self, name: &[u8], arguments: &[&[u8]], view: &mut StoreView<'_>) -> Reply {
        view.database = self.database;
        let upper = name.to_ascii_uppercase();
        let answer = match (upper.as_slice(), arguments) {
            (b"QUIT", _) => return Reply::last(line("+OK")),
            (b"PING", []) => line("+PONG"),
            (b"PING" | b"ECHO", [text]) => bulk(text),
            (b"AUTH", [_]) => line(NO_PASSWORD_CONFIGURED),
            (b"AUTH", [user, _]) => line(if *user == b"default" { "+OK" } else { WRONG_PASSWORD }),
            (b"AUTH", [_, _, _, ..]) => line(SYNTAX_ERROR),
            (b"HELLO", _) => self.hello(arguments, view),
            (b"SELECT", [number]) => self.select(number),
            (b"CLIENT", [subcommand, ..]) => client(subcommand, self.id),
            (b"COMMAND", [subcommand, ..]) if subcommand.eq_ignore_ascii_case(b"COUNT") => line(":0"),
            (b"COMMAND", _) => line("*0"),
            (b"INFO", sections) => bulk(info(sections, view).as_bytes()),
            (b"ROLE", []) => role(view),
            (b"GET", [key]) => self.get(key, view).unwrap_or_else(refused),
            (b"SET", [key, value, options @ ..]) => set(key, value, options, view).unwrap_or_else(refused),
            (b"DEL", [_, ..]) => delete(arguments, view).unwrap_or_else(refused),
            (b"EXISTS", [_, ..]) => exists(arguments, view).unwrap_or_else(refused),
            (b"PTTL", [key]) => time_to_live(key, view, 1).unwrap_or_else(refused),
            (b"TTL", [key]) => time_to_live(key, view, 1000).unwrap_or_else(refused),
            (
                b"PING" | b"ECHO" | b"AUTH" | b"SELECT" | b"CLIENT" | b"ROLE" | b"GET" | b"SET" | b"DEL"
                | b"EXISTS" | b"PTTL" | b"TTL",
                _,
            ) => {
                let name = String::from_utf8_lossy(name).to_lowercase();
                line(&format!("-ERR wrong number of arguments for '{name}' command"))
            }
            _ => unknown(name, arguments),
        };
        answer.into()
    }

    fn select(&mut self, number: &[u8]) -> Vec<u8> {
        match integer(number) {
            None => line(NOT_AN_INTEGER),
            Some(number) => match usize::try_from(number).ok().filter(|number| *number < DATABASES) {
                None => line("-ERR DB index is out of range"),
                Some(database) => {
                    self.database = database;
                    line("+OK")
                }
            },
        }
    }

    fn hello(&mut self, arguments: &[&[u8]], view: &StoreView<'_>) -> Vec<u8> {
        if let Some((version, mut options)) = arguments.split_first() {
            let resp3 = match integer(version) {
                None => return line("-ERR Protocol version is not an integer or out of range"),
                Some(2) => false,
                Some(3) => true,
                Some(_) => return line("-NOPROTO unsupported protocol version"),
            };
            while let Some((option, values)) = options.split_first() {
                options = match (option.to_ascii_uppercase().as_slice(), values) {
                    (b"AUTH", [b"default", _, rest @ ..]) | (b"SETNAME", [_, rest @ ..]) => rest,
                    (b"AUTH", [_, _, ..]) => return line(WRONG_PASSWORD),
                    _ => {
                        let option = String::from_utf8_lossy(option);
                        return line(&format!("-ERR Syntax error in HELLO option '{option}'"));
                    }
                };
            }
            self.resp3 = resp3;
        }
        let role = if view.is_replica() { "replica" } else { "master" };
        [
            line(if self.resp3 { "%7" } else { "*14" }),
            bulks(["server", "redis", "version", VERSION, "proto"]),
            line(if self.resp3 { ":3" } else { ":2" }),
            bulks(["id"]),
            line(&format!(":{}", self.id)),
            bulks(["mode", "standalone", "role", role, "modules"]),
            line("*0"),
        ]
        .concat()
    }

    fn get(&self, key: &[u8], view: &mut StoreView<'_>) -> Result<Vec<u8>, InjectedRefusal> {
        Ok(match view.get(key)? {
            None if self.resp3 => line("_"),
            None => line("$-1"),
            Some(item) => [line(&format!("${}", item.announced())), item.value, line("")].concat(),
        })
    }
}

/// The error for a refusal, as `server.c` of Redis words it.
fn refused(refusal: InjectedRefusal) -> Vec<u8> {
    line(&match refusal {
        InjectedRefusal::ReadOnly => "-READONLY You can't write against a read only replica.".to_owned(),
        InjectedRefusal::OutOfMemory => "-OOM command not allowed when used memory > 'maxmemory'.".to_owned(),
        InjectedRefusal::Saying(words) => words,
    })
}

fn set(
    key: &[u8],
    value: &[u8],
    options: &[&[u8]],
    view: &mut StoreView<'_>,
) -> Result<Vec<u8>, InjectedRefusal> {
    let expires = match options {
        [] => None,
        [unit, amount] => {
            let unit = match unit.to_ascii_uppercase().as_slice() {
                b"PX" => 1,
                b"EX" => 1000,
                _ => return Ok(line(SYNTAX_ERROR)),
            };
            let Some(amount) = integer(amount) else { return Ok(line(NOT_AN_INTEGER)) };
            match in_milliseconds(amount, unit) {
                None => return Ok(line("-ERR invalid expire time in 'set' command")),
                expires => expires,
            }
        }
        _ => return Ok(line(SYNTAX_ERROR)),
    };
    view.set(Item { expires, ..Item::new(key, value) }, Condition::Always)?;
    Ok(line("+OK"))
}

/// The time that is `amount` of `unit` milliseconds from now. `None` if it is past, or, as in Redis, if it overflows
/// milliseconds since 1970.
fn in_milliseconds(amount: i64, unit: i64) -> Option<Instant> {
    let life = amount.checked_mul(unit).filter(|life| *life > 0)?;
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).ok()?.checked_add(life)?;
    Instant::now().checked_add(Duration::from_millis(life.unsigned_abs()))
}

fn delete(keys: &[&[u8]], view: &mut StoreView<'_>) -> Result<Vec<u8>, InjectedRefusal> {
    let mut deleted = 0;
    for key in keys {
        if let Effect::Done(_) = view.delete(key, Condition::Always)? {
            deleted += 1;
        }
    }
    Ok(line(&format!(":{deleted}")))
}

fn exists(keys: &[&[u8]], view: &mut StoreView<'_>) -> Result<Vec<u8>, InjectedRefusal> {
    let mut found = 0;
    for key in keys {
        found += usize::from(view.get(key)?.is_some());
    }
    Ok(line(&format!(":{found}")))
}

/// A key's remaining time to live, in `unit` milliseconds, rounded to the nearest.
fn time_to_live(key: &[u8], view: &mut StoreView<'_>, unit: u128) -> Result<Vec<u8>, InjectedRefusal> {
    Ok(match view.get(key)?.map(|item| item.expires) {
        None => line(":-2"),
        Some(None) => line(":-1"),
        Some(Some(expires)) => {
            let left = expires.saturating_duration_since(Instant::now()).as_millis();
            line(&format!(":{}", (left + unit / 2) / unit))
        }
    })
}

fn client(subcommand: &[u8], id: u64) -> Vec<u8> {
    match subcommand.to_ascii_uppercase().as_slice() {
        b"SETNAME" | b"SETINFO" => line("+OK"),
        b"ID" => line(&format!(":{id}")),
        _ => {
            let subcommand = String::from_utf8_lossy(subcommand);
            line(&format!("-ERR unknown subcommand '{subcommand}'. Try CLIENT HELP."))
        }
    }
}

fn info(sections: &[&[u8]], view: &StoreView<'_>) -> String {
    let role = if view.is_replica() { "slave" } else { "master" };
    let known = [
        ("Server", format!("redis_version:{VERSION}\r\nredis_mode:standalone\r\n")),
        ("Replication", format!("role:{role}\r\nconnected_slaves:0\r\n")),
    ];
    let wanted = |name: &str| {
        let all: [&[u8]; 4] = [b"all", b"default", b"everything", name.as_bytes()];
        sections.is_empty()
            || sections.iter().any(|section| all.iter().any(|one| section.eq_ignore_ascii_case(one)))
    };
    let shown: Vec<String> = known
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, lines)| format!("# {name}\r\n{lines}"))
        .collect();
    shown.join("\r\n")
}

fn role(view: &StoreView<'_>) -> Vec<u8> {
    if view.is_replica() {
        let primary =
            [bulks(["slave", "127.0.0.1"]), line(":6379"), bulks(["connected"]), line(":0")].concat();
        [line("*5"), primary].concat()
    } else {
        [line("*3"), bulks(["master"]), line(":0"), line("*0")].concat()
    }
}

fn unknown(name: &[u8], arguments: &[&[u8]]) -> Vec<u8> {
    // Redis quotes up to 128 bytes of the name and of the arguments.
    let cut = |text: &[u8], room: usize| text[..text.len().min(room)].to_vec();
    let mut quoted = Vec::new();
    for argument in arguments {
        let Some(room) = 128_usize.checked_sub(quoted.len()).filter(|room| *room > 0) else { break };
        quoted.extend([b"'", cut(argument, room).as_slice(), b"' "].concat());
    }
    let mut error =
        [b"-ERR unknown command '", cut(name, 128).as_slice(), b"', with args beginning with: ", &quoted]
            .concat();
    // An error is one line, so quoted line breaks are replaced.
    error.iter_mut().filter(|byte| b"\r\n".contains(byte)).for_each(|byte| *byte = b' ');
    error.extend(b"\r\n");
    error
}

fn line(text: &str) -> Vec<u8> {
    format!("{text}\r\n").into_bytes()
}

fn bulk(text: &[u8]) -> Vec<u8> {
    [line(&format!("${}", text.len())).as_slice(), text, b"\r\n"].concat()
}

fn bulks<const N: usize>(texts: [&str; N]) -> Vec<u8> {
    texts.map(|text| bulk(text.as_bytes())).concat()
}

/// A number in the form that Redis requires: digits, with an optional minus before them.
fn integer(text: &[u8]) -> Option<i64> {
    str::from_utf8(text).ok().filter(|text| !text.starts_with('+')).and_then(|text| text.parse().ok())
}

/// Reads one command: an array of bulk strings, or a line of words.
fn parse(input: &[u8]) -> Parsed<'_> {
    let Some((first, mut rest)) = split_line(input) else {
        let what =
            if input.starts_with(b"*") { "too big mbulk count string" } else { "too big inline request" };
        return if input.len() > MAX_LINE { Err(what.into()) } else { Ok(None) };
    };
    let Some(count) = first.strip_prefix(b"*") else {
        let words = first.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
        return Ok(Some((words, input.len() - rest.len())));
    };
    let count = integer(count).filter(|count| *count <= MAX_WORDS);
    let count = count.ok_or("invalid multibulk length")?;
    let mut words = Vec::new();
    for _ in 0..count {
        let Some((header, body)) = split_line(rest) else {
            let too_long = rest.len() > MAX_LINE;
            return if too_long { Err("too big bulk count string".into()) } else { Ok(None) };
        };
        let Some(length) = header.strip_prefix(b"$") else {
            let got = header.first().copied().unwrap_or(b'\r').escape_ascii();
            return Err(format!("expected '$', got '{got}'"));
        };
        let length = integer(length).and_then(|length| usize::try_from(length).ok());
        let length = length.filter(|length| *length <= MAX_VALUE).ok_or("invalid bulk length")?;
        let (Some(word), Some(after)) = (body.get(..length), body.get(length + 2..)) else { return Ok(None) };
        words.push(word);
        rest = after;
    }
    Ok(Some((words, input.len() - rest.len())))
}

/// The first line without its end, and what follows it.
fn split_line(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    let line = &input[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), &input[end + 1..]))
}
