//! memcached's text protocol, classic and meta, as `doc/protocol.txt` of memcached describes it.

use std::str::{self, FromStr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::answer::{ParseStep, Reply};
use super::fault::{InjectedRefusal, StoreView};
use super::store::{Condition, Effect, Item, MAX_VALUE};

/// The release that these answers imitate.
const VERSION: &str = "1.6.18";

/// The longest key and the longest line, in bytes.
const MAX_KEY: usize = 250;
const MAX_LINE: usize = 8 << 10;

/// A time of expiry beyond this many seconds (30 days) is a time since 1970.
const MAX_RELATIVE: i64 = 60 * 60 * 24 * 30;

const BAD_LINE: &str = "CLIENT_ERROR bad command line format";

/// The state of one connection.
#[derive(Debug, Default)]
pub(super) struct MemcachedSession {
    /// The number of bytes still to come of a refused value.
    unwanted: usize,
}

/// An answer, or an error line.
type Answered = Result<Vec<u8>, Error>;

/// The error line in place of an answer.
#[derive(Debug)]
struct Error(String);

impl From<&str> for Error {
    fn from(line: &str) -> Self {
        Self(line.to_owned())
    }
}

impl From<InjectedRefusal> for Error {
    fn from(refusal: InjectedRefusal) -> Self {
        Self(match refusal {
            InjectedRefusal::ReadOnly => "SERVER_ERROR read only".to_owned(),
            InjectedRefusal::OutOfMemory => "SERVER_ERROR out of memory storing object".to_owned(),
            InjectedRefusal::Saying(words) => words,
        })
    }
}

/// A storage command, as parsed from its line.
struct StoreCommand<'a> {
    item: Item,
    length: usize,
    condition: Condition,
    dialect: ReplyDialect<'a>,
}

/// A storage command that cannot be carried out.
struct Rejected {
    error: Error,
    /// The number of bytes of its value that are still to come, and are skipped.
    unwanted: usize,
}

impl From<Error> for Rejected {
    fn from(error: Error) -> Self {
        Self { error, unwanted: 0 }
    }
}

impl Rejected {
    fn with_value(length: usize, error: Error) -> Self {
        Self { error, unwanted: length.saturating_add(2) }
    }
}

/// The form of the answer to a command.
enum ReplyDialect<'a> {
    Classic { noreply: bool },
    Meta(MetaFlags<'a>),
}

impl MemcachedSession {
    pub(super) fn step(&mut self, input: &[u8], view: &mut StoreView<'_>) -> ParseStep {
        if self.unwanted > 0 && !input.is_empty() {
            let skipped = self.unwanted.min(input.len());
            self.unwanted -= skipped;
            return ParseStep::Skip(skipped);
        }
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
            // As in memcached, the connection is closed without an answer.
            let too_long = input.len() > MAX_LINE;
            return if too_long {
                ParseStep::Command(input.len(), Reply::last(Vec::new()))
            } else {
                ParseStep::Incomplete
            };
        };
        let (line, data) = (&input[..end], &input[end + 1..]);
        let words: Vec<&[u8]> = line
            .strip_suffix(b"\r")
            .unwrap_or(line)
            .split(|byte| *byte == b' ')
            .filter(|word| !word.is_empty())
            .collect();
        let taken = end + 1;
        match parse_store(&words) {
            None if words.first() == Some(&b"quit".as_slice()) => {
                ParseStep::Command(taken, Reply::last(Vec::new()))
            }
            None => ParseStep::Command(taken, said(answer(&words, view)).into()),
            Some(Err(Rejected { error, unwanted })) => {
                self.unwanted = unwanted;
                ParseStep::Command(taken, said(Err(error)).into())
            }
            Some(Ok(store)) => match (data.get(..store.length), data.get(store.length..store.length + 2)) {
                (Some(value), Some(terminator)) => {
                    let taken = taken + store.length + 2;
                    let answer = if terminator == b"\r\n" {
                        store.carry_out(value, view)
                    } else {
                        Err("CLIENT_ERROR bad data chunk".into())
                    };
                    ParseStep::Command(taken, said(answer).into())
                }
                _ => ParseStep::Incomplete,
            },
        }
    }
}

/// The bytes of an answer or of an error.
fn said(answer: Answered) -> Vec<u8> {
    answer.unwrap_or_else(|Error(line)| format!("{line}\r\n").into_bytes())
}

/// The storage command, if it is one.
fn parse_store<'a>(words: &[&'a [u8]]) -> Option<Result<StoreCommand<'a>, Rejected>> {
    let (name, arguments) = words.split_first()?;
    let store = match (*name, arguments) {
        (b"ms", [key, length, flags @ ..]) => parse_meta_store(key, length, flags),
        (b"ms", [_]) => Err(Error::from(BAD_LINE).into()),
        (b"set", arguments) => parse_classic_store(arguments, Condition::Always)?,
        (b"add", arguments) => parse_classic_store(arguments, Condition::Absent)?,
        (b"replace", arguments) => parse_classic_store(arguments, Condition::Present)?,
        (b"cas", [key, flags, expires, length, cas, rest @ ..]) => match number(cas, BAD_LINE) {
            Ok(cas) => {
                let arguments = [&[*key, flags, expires, length], rest].concat();
                parse_classic_store(&arguments, Condition::Cas(cas))?
            }
            Err(error) => Err(error.into()),
        },
        _ => return None,
    };
    Some(store.and_then(|store| {
        if store.length <= MAX_VALUE {
            Ok(store)
        } else {
            Err(Rejected::with_value(store.length, "SERVER_ERROR object too large for cache".into()))
        }
    }))
}

fn parse_classic_store<'a>(
    arguments: &[&[u8]],
    condition: Condition,
) -> Option<Result<StoreCommand<'a>, Rejected>> {
    let (key, flags, expires, length, noreply) = match arguments {
        [key, flags, expires, length] => (key, flags, expires, length, false),
        [key, flags, expires, length, last] => (key, flags, expires, length, *last == b"noreply"),
        _ => return None,
    };
    let parse = || {
        let item = Item {
            flags: number(flags, BAD_LINE)?,
            expires: expiry(number(expires, BAD_LINE)?),
            ..Item::new(valid(key)?, b"")
        };
        let dialect = ReplyDialect::Classic { noreply };
        Ok(StoreCommand { item, length: number(length, BAD_LINE)?, condition, dialect })
    };
    Some(parse().map_err(Error::into))
}

fn parse_meta_store<'a>(key: &[u8], length: &[u8], flags: &[&'a [u8]]) -> Result<StoreCommand<'a>, Rejected> {
    let key = valid(key)?;
    let length = number(length, BAD_LINE)?;
    let parse = || {
        let flags = MetaFlags::parse(flags, b"TFCOqkcM")?;
        let condition = match (flags.get(b'M'), flags.number(b'C')?) {
            (None | Some(b"S"), None) => Condition::Always,
            (None | Some(b"S"), Some(cas)) => Condition::Cas(cas),
            (Some(b"E"), _) => Condition::Absent,
            (Some(b"R"), _) => Condition::Present,
            (Some([_]), _) => return Err("CLIENT_ERROR invalid mode for ms M token".into()),
            (Some(_), _) => return Err("CLIENT_ERROR incorrect length for M token".into()),
        };
        let item = Item {
            flags: flags.number(b'F')?.unwrap_or(0),
            expires: flags.number(b'T')?.and_then(expiry),
            ..Item::new(key, b"")
        };
        Ok(StoreCommand { item, length, condition, dialect: ReplyDialect::Meta(flags) })
    };
    parse().map_err(|error| Rejected::with_value(length, error))
}

impl StoreCommand<'_> {
    fn carry_out(self, value: &[u8], view: &mut StoreView<'_>) -> Answered {
        let mut item = Item { value: value.into(), ..self.item };
        let effect = match view.set(item.clone(), self.condition) {
            Err(InjectedRefusal::OutOfMemory) => {
                // A failed `set` or `ms` deletes the old item, so that no old value is left behind. The other
                // commands keep it (process_update_command and process_mset_command in proto_text.c).
                let is_set = matches!(self.condition, Condition::Always);
                if is_set || matches!(self.dialect, ReplyDialect::Meta(_)) {
                    view.delete(&item.key, Condition::Always)?;
                }
                return Err(InjectedRefusal::OutOfMemory.into());
            }
            effect => effect?,
        };
        if let Effect::Done(cas) = effect {
            item.cas = cas;
        }
        Ok(match self.dialect {
            ReplyDialect::Classic { noreply: true } => Vec::new(),
            ReplyDialect::Classic { noreply: false } => line(match effect {
                Effect::Done(_) => "STORED",
                Effect::NotStored => "NOT_STORED",
                Effect::NotFound => "NOT_FOUND",
                Effect::Exists => "EXISTS",
            }),
            ReplyDialect::Meta(flags) => match effect {
                Effect::Done(_) if flags.has(b'q') => Vec::new(),
                Effect::Done(_) => flags.line("HD", &item.key, Some(&item)),
                Effect::NotStored => flags.line("NS", &item.key, None),
                Effect::NotFound => flags.line("NF", &item.key, None),
                Effect::Exists => flags.line("EX", &item.key, None),
            },
        })
    }
}

/// Answers a command other than a storage command.
fn answer(words: &[&[u8]], view: &mut StoreView<'_>) -> Answered {
    match words {
        [b"get", keys @ ..] if !keys.is_empty() => get(keys, false, view),
        [b"gets", keys @ ..] if !keys.is_empty() => get(keys, true, view),
        [b"delete", key, rest @ ..] if rest.len() <= 2 => {
            if !matches!(rest, [] | [b"0" | b"noreply"] | [b"0", b"noreply"]) {
                return Err("CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]".into());
            }
            let effect = view.delete(valid(key)?, Condition::Always)?;
            Ok(unless_quiet(rest, if let Effect::Done(_) = effect { "DELETED" } else { "NOT_FOUND" }))
        }
        [b"touch", key, expires, rest @ ..] if rest.len() <= 1 => {
            let expires = expiry(number(expires, "CLIENT_ERROR invalid exptime argument")?);
            let effect = view.touch(valid(key)?, expires)?;
            Ok(unless_quiet(rest, if let Effect::Done(_) = effect { "TOUCHED" } else { "NOT_FOUND" }))
        }
        [b"version", ..] => Ok(line(&format!("VERSION {VERSION}"))),
        [b"mn", ..] => Ok(line("MN")),
        [b"mg", key, flags @ ..] => meta_get(valid(key)?, &MetaFlags::parse(flags, b"vcktTOqfs")?, view),
        [b"md", key, flags @ ..] => meta_delete(valid(key)?, &MetaFlags::parse(flags, b"COqk")?, view),
        _ => Err("ERROR".into()),
    }
}

fn get(keys: &[&[u8]], with_cas: bool, view: &mut StoreView<'_>) -> Answered {
    let mut answer = Vec::new();
    for key in keys {
        if let Some(item) = view.get(valid(key)?)? {
            answer.extend(b"VALUE ");
            answer.extend(&item.key);
            answer.extend(format!(" {} {}", item.flags, item.announced()).as_bytes());
            if with_cas {
                answer.extend(format!(" {}", item.cas).as_bytes());
            }
            answer.extend([b"\r\n", item.value.as_slice(), b"\r\n"].concat());
        }
    }
    answer.extend(b"END\r\n");
    Ok(answer)
}

fn meta_get(key: &[u8], flags: &MetaFlags<'_>, view: &mut StoreView<'_>) -> Answered {
    let life = flags.number(b'T')?;
    let Some(mut item) = view.get(key)? else {
        return Ok(if flags.has(b'q') { Vec::new() } else { flags.line("EN", key, None) });
    };
    if let Some(life) = life {
        item.expires = expiry(life);
        view.touch(key, item.expires)?;
    }
    if !flags.has(b'v') {
        return Ok(flags.line("HD", &item.key, Some(&item)));
    }
    let header = flags.line(&format!("VA {}", item.announced()), &item.key, Some(&item));
    Ok([header.as_slice(), &item.value, b"\r\n"].concat())
}

fn meta_delete(key: &[u8], flags: &MetaFlags<'_>, view: &mut StoreView<'_>) -> Answered {
    let condition = flags.number(b'C')?.map_or(Condition::Always, Condition::Cas);
    Ok(match view.delete(key, condition)? {
        Effect::Done(_) if flags.has(b'q') => Vec::new(),
        Effect::Done(_) => flags.line("HD", key, None),
        Effect::Exists => flags.line("EX", key, None),
        Effect::NotFound | Effect::NotStored => flags.line("NF", key, None),
    })
}

/// The flags of a meta command, in the order in which they were given: a letter, and a token or nothing.
struct MetaFlags<'a>(Vec<(u8, &'a [u8])>);

impl<'a> MetaFlags<'a> {
    fn parse(words: &[&'a [u8]], known: &[u8]) -> Result<Self, Error> {
        let mut flags = Self(Vec::with_capacity(words.len()));
        for (flag, token) in words.iter().filter_map(|word| word.split_first()) {
            if !known.contains(flag) {
                return Err("CLIENT_ERROR invalid flag".into());
            }
            if flags.has(*flag) {
                return Err("CLIENT_ERROR duplicate flag".into());
            }
            flags.0.push((*flag, token));
        }
        Ok(flags)
    }

    fn get(&self, flag: u8) -> Option<&'a [u8]> {
        self.0.iter().find(|(given, _)| *given == flag).map(|(_, token)| *token)
    }

    fn has(&self, flag: u8) -> bool {
        self.get(flag).is_some()
    }

    fn number<T: FromStr>(&self, flag: u8) -> Result<Option<T>, Error> {
        self.get(flag).map(|token| number(token, "CLIENT_ERROR bad token in command line format")).transpose()
    }

    /// A line with the fields that the flags request, in their order.
    fn line(&self, code: &str, key: &[u8], item: Option<&Item>) -> Vec<u8> {
        let mut line = code.as_bytes().to_vec();
        for (flag, token) in &self.0 {
            let told = match (flag, item) {
                (b'k', _) => key.to_vec(),
                (b'O', _) => token.to_vec(),
                (b'c', Some(item)) => item.cas.to_string().into_bytes(),
                (b'f', Some(item)) => item.flags.to_string().into_bytes(),
                (b's', Some(item)) => item.announced().to_string().into_bytes(),
                (b't', Some(item)) => seconds_left(item).into_bytes(),
                _ => continue,
            };
            line.extend([b" ", [*flag].as_slice(), &told].concat());
        }
        line.extend(b"\r\n");
        line
    }
}

fn seconds_left(item: &Item) -> String {
    match item.expires {
        None => "-1".to_owned(),
        // memcached's clock has a resolution of one second, so a second that has begun still counts.
        Some(expires) => {
            expires.saturating_duration_since(Instant::now()).as_millis().div_ceil(1000).to_string()
        }
    }
}

/// The time of an expiry in seconds; `None` means never.
fn expiry(seconds: i64) -> Option<Instant> {
    let now = Instant::now();
    let left = match seconds {
        0 => return None,
        ..0 => 0,
        1..=MAX_RELATIVE => seconds.unsigned_abs(),
        _ => {
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            seconds.unsigned_abs().saturating_sub(since_1970)
        }
    };
    now.checked_add(Duration::from_secs(left))
}

fn line(text: &str) -> Vec<u8> {
    format!("{text}\r\n").into_bytes()
}

fn unless_quiet(rest: &[&[u8]], text: &str) -> Vec<u8> {
    if rest.last() == Some(&b"noreply".as_slice()) { Vec::new() } else { line(text) }
}

fn valid(key: &[u8]) -> Result<&[u8], Error> {
    if key.len() <= MAX_KEY { Ok(key) } else { Err(BAD_LINE.into()) }
}

fn number<T: FromStr>(text: &[u8], otherwise: &str) -> Result<T, Error> {
    str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(|| otherwise.into())
}
