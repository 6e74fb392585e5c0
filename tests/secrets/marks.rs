//! [`Marks`]: secrets that are found again wherever five characters of one stand in a row, in any usual spelling.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::sync::Mutex;

use fastrand::Rng;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// The fewest characters in a row that are a leak.
const RUN: usize = 5;

/// The same for base64 and hex, which turn any text into random bytes: so many bytes are not found by chance.
const DECODED_RUN: usize = 6;

/// The same for private keys, whose characters are those of any base64.
const KEY_RUN: usize = 16;

/// The letters of a mark. No word has five of them in a row, and a hexadecimal number has none.
const LETTERS: &[char] = &['q', 'x', 'z', 'j', 'k', 'v', 'w'];

/// Characters that URLs, TOML, JSON, HTML and shells treat in their own ways.
const SPECIAL: &[char] =
    &['%', '"', '\\', '@', ':', '/', '#', '\'', '+', '&', '=', '?', '<', '$', '{', ',', ';', 'é'];

/// The secrets of a test, each with the place that it is put in.
#[derive(Debug)]
pub(crate) struct Marks {
    state: Mutex<(Rng, Vec<Mark>)>,
    seed: u64,
}

#[derive(Debug, Clone)]
struct Mark {
    place: String,
    text: String,
    run: usize,
}

impl Marks {
    /// New ones for each run. `SECRETS_SEED` repeats those of an earlier one.
    pub(crate) fn new() -> Self {
        let seed = env::var("SECRETS_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
        Self { state: Mutex::new((Rng::with_seed(seed), Vec::new())), seed }
    }

    /// The seed, for the message of a failure.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// A secret for this place, with characters that must be escaped somewhere.
    pub(crate) fn secret(&self, place: &str) -> String {
        self.make(place, |random| {
            let parts = (0..4).map(|number| {
                let special = random.choice(SPECIAL).filter(|_| number > 0);
                special.copied().into_iter().chain(letters(random, 5)).collect::<String>()
            });
            parts.collect()
        })
    }

    /// A secret of letters alone.
    pub(crate) fn word(&self, place: &str) -> String {
        self.make(place, |random| letters(random, 20).collect())
    }

    /// A private key in PEM, which is searched for by longer runs.
    pub(crate) fn key(&self, place: &str, pem: &str) {
        let lines = pem.lines().filter(|line| !line.starts_with('-'));
        let keys = lines.map(|line| Mark { place: place.to_owned(), text: line.to_owned(), run: KEY_RUN });
        self.state.lock().unwrap().1.extend(keys);
    }

    /// The number of secrets.
    pub(crate) fn count(&self) -> usize {
        self.state.lock().unwrap().1.len()
    }

    fn make(&self, place: &str, write: impl Fn(&mut Rng) -> String) -> String {
        let (random, marks) = &mut *self.state.lock().unwrap();
        let text = write(random);
        marks.push(Mark { place: place.to_owned(), text: text.clone(), run: RUN });
        text
    }

    /// What is to be searched for.
    pub(crate) fn search(&self) -> Search {
        let mut search = Search::default();
        for Mark { place, text, run } in &self.state.lock().unwrap().1 {
            let lower = text.to_lowercase();
            for (bytes, run, runs) in
                [(&lower, *run, &mut search.plain), (text, DECODED_RUN.max(*run), &mut search.decoded)]
            {
                for bytes in bytes.as_bytes().windows(run) {
                    runs.entry(bytes.to_vec()).or_default().insert(place.clone());
                }
            }
        }
        search.pairs = vec![false; 1 << 16];
        for run in search.plain.keys().chain(search.decoded.keys()) {
            search.pairs[pair(run)] = true;
        }
        search
    }
}

fn letters(random: &mut Rng, count: usize) -> impl Iterator<Item = char> {
    (0..count).map(|_| {
        let letter = *random.choice(LETTERS).unwrap();
        if random.bool() { letter.to_ascii_uppercase() } else { letter }
    })
}

/// The text as it stands in a URL.
pub(crate) fn in_url(secret: &str) -> String {
    utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string()
}

/// The text as a string of TOML or of JSON, with its quotes.
pub(crate) fn quoted(secret: &str) -> String {
    serde_json::Value::from(secret).to_string()
}

/// The runs of characters that no output may have, each with the places that it comes from.
#[derive(Debug, Default)]
pub(crate) struct Search {
    /// In lower case.
    plain: Runs,
    decoded: Runs,
    /// What they begin with: few places of an output do.
    pairs: Vec<bool>,
}

type Runs = BTreeMap<Vec<u8>, BTreeSet<String>>;

impl Search {
    /// The places whose secrets an output shows, each with its spelling.
    pub(crate) fn leaks(&self, output: &[u8]) -> BTreeSet<String> {
        let lower = String::from_utf8_lossy(output).to_lowercase().into_bytes();
        let mut leaks = BTreeSet::new();
        self.find("plain", &lower, &self.plain, &mut leaks);
        self.find("escaped", &unescaped(&lower), &self.plain, &mut leaks);
        for skip in 0..4 {
            self.find("base64", &unpacked(output, 6, skip, of_base64), &self.decoded, &mut leaks);
        }
        for skip in 0..2 {
            self.find("hex", &unpacked(output, 4, skip, of_hex), &self.decoded, &mut leaks);
        }
        leaks
    }

    fn find(&self, spelling: &str, text: &[u8], runs: &Runs, leaks: &mut BTreeSet<String>) {
        for (at, _) in text.windows(2).enumerate().filter(|(_, two)| self.pairs[pair(two)]) {
            for run in [RUN, DECODED_RUN, KEY_RUN].into_iter().filter_map(|len| text.get(at..at + len)) {
                for place in runs.get(run).into_iter().flatten() {
                    leaks.insert(format!("{place} ({spelling})"));
                }
            }
        }
    }
}

/// The first two bytes of a run, as a number.
fn pair(run: &[u8]) -> usize {
    (usize::from(run[0]) << 8) | usize::from(run[1])
}

/// A text with the escapes of URLs, JSON, TOML, HTML and Rust's `Debug` decoded.
fn unescaped(text: &[u8]) -> Vec<u8> {
    const ENTITIES: [(&[u8], u8); 6] = [
        (b"&quot;", b'"'),
        (b"&amp;", b'&'),
        (b"&lt;", b'<'),
        (b"&gt;", b'>'),
        (b"&#39;", b'\''),
        (b"&#x27;", b'\''),
    ];
    let (mut decoded, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let rest = &text[at..];
        let number = |from: usize, digits: usize| {
            let digits = std::str::from_utf8(rest.get(from..from + digits)?).ok()?;
            u32::from_str_radix(digits, 16).ok()
        };
        let entity = || ENTITIES.iter().find(|(entity, _)| rest.starts_with(entity));
        let (bytes, len) = match (rest[0], rest.get(1)) {
            (b'%', _) => (number(1, 2).map(byte), 3),
            (b'\\', Some(b'x')) => (number(2, 2).map(byte), 4),
            (b'\\', Some(b'u')) => (number(2, 4).and_then(character), 6),
            (b'\\', Some(&escaped)) => (Some(vec![escaped]), 2),
            (b'&', _) => entity().map_or((None, 1), |(entity, byte)| (Some(vec![*byte]), entity.len())),
            _ => (None, 1),
        };
        at += if bytes.is_some() { len } else { 1 };
        decoded.extend(bytes.unwrap_or_else(|| vec![rest[0]]));
    }
    decoded
}

fn byte(number: u32) -> Vec<u8> {
    u8::try_from(number).iter().map(u8::to_ascii_lowercase).collect()
}

fn character(number: u32) -> Option<Vec<u8>> {
    Some(char::from_u32(number)?.to_lowercase().to_string().into_bytes())
}

/// The bytes for which runs of digits stand, each digit for so many bits, without the first `skip` digits of each run. A zero byte stands
/// between unrelated ones.
fn unpacked(text: &[u8], bits: u32, skip: usize, digit: fn(u8) -> Option<u32>) -> Vec<u8> {
    let mut unpacked = Vec::new();
    for digits in text.split(|&byte| digit(byte).is_none()).filter(|digits| digits.len() >= 8) {
        let (mut number, mut held) = (0, 0);
        for value in digits.iter().skip(skip).filter_map(|&byte| digit(byte)) {
            (number, held) = ((number << bits) | value, held + bits);
            if held >= 8 {
                held -= 8;
                unpacked.push(u8::try_from(number >> held).unwrap());
                number &= (1 << held) - 1;
            }
        }
        unpacked.push(0);
    }
    unpacked
}

fn of_hex(digit: u8) -> Option<u32> {
    char::from(digit).to_digit(16)
}

fn of_base64(digit: u8) -> Option<u32> {
    Some(match digit {
        b'A'..=b'Z' => u32::from(digit - b'A'),
        b'a'..=b'z' => u32::from(digit - b'a') + 26,
        b'0'..=b'9' => u32::from(digit - b'0') + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}

/// The ways in which a server or a program may spell a secret.
pub(crate) fn spellings(secret: &str) -> Vec<(&'static str, String)> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    let each = |write: fn(u8) -> String| secret.bytes().map(write).collect::<String>();
    vec![
        ("plain text", secret.to_owned()),
        ("upper case", secret.to_uppercase()),
        ("a part of a URL", in_url(secret)),
        ("percent-encoded", each(|byte| format!("%{byte:02X}"))),
        ("a string of JSON", serde_json::Value::from(secret).to_string()),
        ("debugged", format!("{secret:?}")),
        ("bytes of Redis", each(|byte| format!("\\x{byte:02x}"))),
        ("hexadecimal", each(|byte| format!("{byte:02x}"))),
        ("base64", STANDARD.encode(secret)),
        ("base64 within a login", URL_SAFE.encode(format!("\0app\0{secret}"))),
    ]
}

#[test]
fn a_mark_is_found_in_every_spelling_by_any_five_characters_and_not_by_four() {
    let marks = Marks::new();
    for number in 0..20 {
        let secret = marks.secret("here");
        marks.secret("elsewhere");
        let search = marks.search();
        for (spelling, text) in spellings(&secret) {
            let leaks = search.leaks(format!("ERR wrong: <{text}>\n").as_bytes());
            assert!(leaks.iter().any(|leak| leak.starts_with("here ")), "{number} {spelling}: {text}");
        }
        for (spelling, _) in spellings("") {
            let runs = secret.chars().collect::<Vec<_>>();
            for run in runs.windows(if spelling.starts_with("base64") { 10 } else { 6 }) {
                let run: String = run.iter().collect();
                let (_, text) = spellings(&run).into_iter().find(|(name, _)| *name == spelling).unwrap();
                assert!(
                    !search.leaks(format!("'{text}'").as_bytes()).is_empty(),
                    "{spelling}: {run}: {text}"
                );
            }
        }
        // Between characters that no secret has: another one may have these four beside a quote.
        let four: String = secret.chars().take(4).collect();
        assert!(search.leaks(format!(".{four}.").as_bytes()).is_empty(), "{four}");
    }
}

#[test]
fn a_mark_is_found_behind_the_entities_of_a_page() {
    let marks = Marks::new();
    for _ in 0..50 {
        let secret = marks.secret("here");
        let page = maud::html! { p title=(secret) { "said " (secret) } }.into_string();
        let leaks = marks.search().leaks(page.as_bytes());
        assert!(!leaks.is_empty(), "{page}");
    }
}
