//! A server that answers truly, and lies in answer to some commands when it is told to.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// The answer of a liar in place of the true one; none if it does not lie.
type Lie = Arc<Mutex<Option<Vec<u8>>>>;

/// A server that answers truly, but for the commands that it lies in answer to.
#[derive(Debug)]
pub struct Liar {
    /// Its address.
    pub addr: SocketAddr,
    lie: Lie,
}

impl Liar {
    /// One whose connections `serve` answers.
    fn start(serve: impl Fn(TcpStream, &Lie) -> Option<()> + Send + Sync + Clone + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, lie) = (listener.local_addr().unwrap(), Lie::default());
        let told = lie.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (serve, lie) = (serve.clone(), told.clone());
                thread::spawn(move || serve(stream.unwrap(), &lie));
            }
        });
        Self { addr, lie }
    }

    /// A Redis that lies in answer to commands that begin so.
    /// It answers other `known` commands as is written there.
    pub fn redis(about: &'static [&'static str], known: &'static [(&'static str, &'static str)]) -> Self {
        let values = Arc::<Mutex<HashMap<String, String>>>::default();
        Self::start(move |stream, lie| {
            let mut stream = BufReader::new(stream);
            loop {
                let words = command(&mut stream)?;
                let asked = words.join(" ");
                let lie = lie
                    .lock()
                    .unwrap()
                    .clone()
                    .filter(|_| about.iter().any(|about| asked.starts_with(about)));
                let bulk = |value: &String| format!("${}\r\n{value}\r\n", value.len());
                let truth = known.iter().find(|(about, _)| asked.starts_with(about));
                let answer = match (lie, truth, words[0].as_str()) {
                    (Some(lie), ..) => lie,
                    (None, Some((_, answer)), _) => answer.as_bytes().to_vec(),
                    (None, None, "SET") => {
                        values.lock().unwrap().insert(words[1].clone(), words[2].clone());
                        b"+OK\r\n".to_vec()
                    }
                    (None, None, "GET") => {
                        let values = values.lock().unwrap();
                        values.get(&words[1]).map_or_else(|| "$-1\r\n".to_owned(), bulk).into_bytes()
                    }
                    (None, None, "HELLO") => b"%1\r\n+server\r\n+redis\r\n".to_vec(),
                    (None, None, "PING") => b"+PONG\r\n".to_vec(),
                    (None, None, "DEL") => b":1\r\n".to_vec(),
                    (None, None, _) => b"+OK\r\n".to_vec(),
                };
                stream.get_mut().write_all(&answer).ok()?;
            }
        })
    }

    /// A memcached with `-Y` that lies in answer to commands that begin so.
    pub fn memcached(about: &'static [&'static str]) -> Self {
        let values = Arc::<Mutex<HashMap<String, String>>>::default();
        Self::start(move |stream, lie| {
            let mut stream = BufReader::new(stream);
            let mut known = false;
            loop {
                let asked = line(&mut stream)?;
                let words: Vec<_> = asked.split(' ').collect();
                let len: Option<usize> = match words[0] {
                    "set" | "replace" => words[4].parse().ok(),
                    "ms" => words[2].parse().ok(),
                    _ => None,
                };
                let mut data = vec![0; len.map_or(0, |len| len + 2)];
                stream.read_exact(&mut data).ok()?;
                let data = String::from_utf8(data).unwrap().trim_end().to_owned();
                let lie = lie
                    .lock()
                    .unwrap()
                    .clone()
                    .filter(|_| about.iter().any(|about| asked.starts_with(about)));
                let mut values = values.lock().unwrap();
                let answer = match (lie, words[0]) {
                    (Some(lie), _) => String::from_utf8(lie).unwrap(),
                    (None, "set") if words[1] == "auth" => {
                        known = true;
                        "STORED\r\n".to_owned()
                    }
                    (None, _) if !known => "CLIENT_ERROR unauthenticated\r\n".to_owned(),
                    (None, "mn") => "MN\r\n".to_owned(),
                    (None, "set" | "replace") => {
                        values.insert(words[1].to_owned(), data);
                        "STORED\r\n".to_owned()
                    }
                    (None, "ms") => {
                        values.insert(words[1].to_owned(), data);
                        "HD\r\n".to_owned()
                    }
                    (None, "mg") => values.get(words[1]).map_or_else(
                        || "EN\r\n".to_owned(),
                        |value| format!("VA {} k{}\r\n{value}\r\n", value.len(), words[1]),
                    ),
                    (None, _) => "ERROR\r\n".to_owned(),
                };
                stream.get_mut().write_all(answer.as_bytes()).ok()?;
            }
        })
    }

    /// A proxy of memcached that knows the classic commands alone, as mcrouter does: it refuses every other one so, and
    /// `closes` the connection then.
    pub fn classic(refusal: &'static str, closes: bool) -> Self {
        let values = Arc::<Mutex<HashMap<String, String>>>::default();
        Self::start(move |stream, lie| {
            let mut stream = BufReader::new(stream);
            loop {
                let asked = line(&mut stream)?;
                let words: Vec<_> = asked.split(' ').collect();
                let answer = match (lie.lock().unwrap().clone(), words[0]) {
                    (Some(lie), "set" | "replace" | "get") => String::from_utf8(lie).unwrap(),
                    (_, "set" | "replace") => {
                        let value = line(&mut stream)?;
                        values.lock().unwrap().insert(words[1].to_owned(), value);
                        "STORED\r\n".to_owned()
                    }
                    (_, "get") => values.lock().unwrap().get(words[1]).map_or_else(
                        || "END\r\n".to_owned(),
                        |value| format!("VALUE {} 0 {}\r\n{value}\r\nEND\r\n", words[1], value.len()),
                    ),
                    (_, "version") => "VERSION mcrouter 0.41\r\n".to_owned(),
                    (_, _) if closes => {
                        stream.get_mut().write_all(refusal.as_bytes()).ok()?;
                        return None;
                    }
                    (_, _) => refusal.to_owned(),
                };
                stream.get_mut().write_all(answer.as_bytes()).ok()?;
            }
        })
    }

    /// A memcached with SASL, which says in its answer to credentials, or to what follows, what is no success.
    pub fn binary(opcode_of_lie: u8) -> Self {
        Self::start(move |stream, lie| {
            let mut stream = stream;
            loop {
                let mut header = [0; 24];
                stream.read_exact(&mut header).ok()?;
                if header[0] != 0x80 {
                    return None;
                }
                let mut body = vec![0; u32::from_be_bytes(header[8..12].try_into().unwrap()) as usize];
                stream.read_exact(&mut body).ok()?;
                let lie = lie.lock().unwrap().clone().filter(|_| header[1] == opcode_of_lie);
                let mut answer = header;
                answer[0] = 0x81;
                answer[2..12].fill(0);
                let words = lie.unwrap_or_default();
                if !words.is_empty() {
                    answer[7] = 0x20;
                }
                answer[8..12].copy_from_slice(&u32::try_from(words.len()).unwrap().to_be_bytes());
                stream.write_all(&[&answer[..], &words].concat()).ok()?;
            }
        })
    }

    /// Has it lie like this from now on, or not at all.
    pub fn lie(&self, lie: Option<&[u8]>) {
        *self.lie.lock().unwrap() = lie.map(<[u8]>::to_vec);
    }
}

/// A line without its end.
fn line(stream: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    (stream.read_line(&mut line).ok()? > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
}

/// The words of the next command of Redis' protocol.
fn command(stream: &mut impl BufRead) -> Option<Vec<String>> {
    let words: usize = line(stream)?.strip_prefix('*')?.parse().ok()?;
    let mut word = || {
        let len: usize = line(stream)?.strip_prefix('$')?.parse().ok()?;
        let mut bytes = vec![0; len + 2];
        stream.read_exact(&mut bytes).ok()?;
        bytes.truncate(len);
        String::from_utf8(bytes).ok()
    };
    (0..words).map(|_| word()).collect()
}
