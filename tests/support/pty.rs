//! A terminal of its own for a program, and a person before it who sees what is on the screen and can type.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::eventually;

/// The screen of a terminal of so many columns and lines after these bytes.
pub fn shown(bytes: &str, columns: u16, rows: u16) -> String {
    let mut emulator = emulator(columns, rows);
    emulator.process(bytes.as_bytes());
    emulator.screen().contents()
}

fn emulator(columns: u16, rows: u16) -> vt100::Parser {
    vt100::Parser::new(length(rows), length(columns), 0)
}

fn length(length: u16) -> NonZeroU16 {
    NonZeroU16::new(length).expect("a length")
}

/// Both ends of a new terminal: the person's and the program's.
fn open() -> (OwnedFd, OwnedFd) {
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&person).expect("a terminal");
    unlockpt(&person).expect("a terminal");
    let name = ptsname(&person, Vec::new()).expect("a name");
    let terminal = File::options().read(true).write(true).open(name.to_str().expect("a path"));
    (person, terminal.expect("the other end").into())
}

/// A program's end of a terminal that was closed.
pub fn hung_up() -> OwnedFd {
    open().1
}

/// A program with a terminal; it is killed when this goes.
pub struct Pty {
    person: File,
    program: Child,
    seen: Arc<Mutex<Seen>>,
    reader: Option<JoinHandle<()>>,
}

struct Seen {
    screen: vt100::Parser,
    bytes: Vec<u8>,
}

impl Pty {
    /// Starts the program on a terminal of so many columns and lines. Its stdin, stdout and stderr are the terminal.
    pub fn start(command: &Command, columns: u16, rows: u16) -> Self {
        let (person, terminal) = open();
        let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&person, size).expect("a size");
        let another = || terminal.try_clone().expect("another handle");

        // Ctrl-C is for the program whose terminal it is.
        let mut started = Command::new("setsid");
        started.arg("--ctty").arg(command.get_program()).args(command.get_args()).env("TERM", "xterm");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => started.env(name, value),
                None => started.env_remove(name),
            };
        }
        started.stdin(another()).stdout(another()).stderr(another());
        let program = started.spawn().expect("the program");
        // With these open, the end of the program would not be the end of what is read.
        drop((started, terminal));

        let person = File::from(person);
        let screen = emulator(columns, rows);
        let seen = Arc::new(Mutex::new(Seen { screen, bytes: Vec::new() }));
        let reader = thread::spawn({
            let (seen, mut person) = (seen.clone(), person.try_clone().expect("another handle"));
            move || {
                let mut buffer = [0; 4096];
                // When the program is gone, that is an error.
                while let Ok(length) = person.read(&mut buffer) {
                    let mut seen = seen.lock().expect("no panic");
                    seen.screen.process(&buffer[..length]);
                    seen.bytes.extend_from_slice(&buffer[..length]);
                }
            }
        });
        Self { person, program, seen, reader: Some(reader) }
    }

    /// The text on the screen.
    pub fn screen(&self) -> String {
        self.seen.lock().expect("no panic").screen.screen().contents()
    }

    /// Whether that is the screen of a program that gives it back when it ends.
    pub fn is_alternate(&self) -> bool {
        self.seen.lock().expect("no panic").screen.screen().alternate_screen()
    }

    /// Whether one sees where one types.
    pub fn has_cursor(&self) -> bool {
        !self.seen.lock().expect("no panic").screen.screen().hide_cursor()
    }

    /// Everything that was written so far.
    pub fn bytes(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().expect("no panic").bytes).into_owned()
    }

    /// Waits until all of these words are on the screen.
    pub fn wait_for(&self, words: &[&str]) {
        let all = || words.iter().all(|word| self.screen().contains(word));
        eventually(&format!("{words:?} on the screen"), all);
    }

    /// Types this.
    pub fn type_in(&mut self, typed: &str) {
        self.person.write_all(typed.as_bytes()).expect("to type");
    }

    /// Gives the terminal another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.seen.lock().expect("no panic").screen.screen_mut().set_size(length(rows), length(columns));
        let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.person, size).expect("a size");
    }

    /// Sends the program SIGTERM.
    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.program), Signal::TERM).expect("SIGTERM");
    }

    /// The exit code, when the program has ended and everything that it wrote is on the screen.
    pub fn wait(&mut self) -> Option<i32> {
        let status = self.program.wait().expect("its end");
        if let Some(reader) = self.reader.take() {
            reader.join().expect("no panic");
        }
        status.code()
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // It may have ended already; then both are without effect.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
