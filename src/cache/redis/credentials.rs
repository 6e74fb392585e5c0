//! Passwords that do not last: when a new one is made, and the program that prints it.
//!
//! `aws` makes tokens of AWS IAM.
//!
//! A dial waits for a new password for a part of the deadline. The program may need longer, as one in Python does, so it
//! goes on beside the checks within [`LIMIT`], and a later check has its password.

mod aws;

use std::env;
use std::io;
use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future;
use humantime::{format_duration, parse_rfc3339};
use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::ExposeSecret;
use tokio::io::{AsyncRead, AsyncReadExt as _, copy, sink};
use tokio::process::Command;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use crate::cache::dial::Shortage;
use crate::config::{MadePassword, MintFailure, Minting, PasswordSource, Secret, is_withheld};
use crate::outcome::{Cause, Fault, advice, printable};
use crate::progress::NodeProgress;
use crate::redaction::{self, Redaction};
use crate::span::timestamp;

/// The time within which a program has to end. Those of the clouds, written in Python, need seconds on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// The time for the rest of an output after the program has ended.
const REST: Duration = Duration::from_millis(100);

/// The most bytes of a program's output, and of its errors that are kept.
const MOST_BYTES: u64 = 64 * 1024;

/// The most bytes of a program's errors. More would take the time that other checks need.
const MOST_ERRORS: u64 = 1024 * 1024;

/// The most bytes of a password: Redis takes no longer argument from a client that has not logged in (`networking.c`,
/// `processMultibulkBuffer`).
const LONGEST: usize = 16 * 1024;

/// The end of the years that RFC 3339 can write, since 1970.
const YEAR_10000: Duration = Duration::from_hours(70_389_528);

/// The password for a dial that began at `began`: the last one, or a new one if that is too old. If none can be had
/// within `limit`, the last one is used until it expires.
pub(super) async fn password(
    source: &Arc<PasswordSource>,
    began: Instant,
    limit: Duration,
    progress: &NodeProgress,
) -> Result<Secret, Fault> {
    if let Some(present) = source.present(began) {
        return Ok(present.secret);
    }
    let last = source.usable();
    // With a password at hand, an attempt that hangs is waited for once, and not by every dial.
    let since = source.started().filter(|_| last.is_some() && source.turn.try_lock().is_err());
    let made = timeout_at(since.unwrap_or_else(Instant::now) + limit, renewed(source, began)).await;
    let setting = source.setting();
    let (failure, is_own) = match made {
        Ok(Ok(made)) => {
            progress.step(|| (setting.to_owned(), "a password".to_owned(), described(&made)));
            return Ok(made.secret);
        }
        Ok(Err(failure)) => (format!("{setting} {}", shown(&failure, progress)), failure.is_own),
        Err(_) => {
            let earlier = source.failure(None);
            let earlier = earlier.map(|failure| format!("; the last attempt {}", shown(&failure, progress)));
            let earlier = earlier.unwrap_or_default();
            let (limit, most) = (format_duration(limit), format_duration(LIMIT));
            let late =
                format!("{setting} gave no password within {limit}, and goes on for at most {most}{earlier}");
            (late, false)
        }
    };
    progress.step(|| (setting.to_owned(), "a password".to_owned(), failure.clone()));
    let advice = match source.minting {
        Minting::Command { .. } => advice::PASSWORD_COMMAND,
        Minting::Aws(_) => advice::AWS,
    };
    let fault = || {
        let fault = progress.fault(Cause::Auth, &failure).with_advice(advice);
        if is_own { fault.of_our_own() } else { fault }
    };
    last.map(|last| last.secret).ok_or_else(fault)
}

/// The words for a failure. Those of a program may hold a password of before.
fn shown(MintFailure { what, said, .. }: &MintFailure, progress: &NodeProgress) -> String {
    let said = said.as_deref().map(|said| format!(": {}", progress.redaction().text(said)));
    format!("{what}{}", said.unwrap_or_default())
}

/// The failure of something that the system refused.
fn refused(what: &str, error: &io::Error) -> MintFailure {
    match Shortage::of_start(error) {
        Some(shortage) => {
            MintFailure { what: format!("{what}: {error}: {shortage}"), said: None, is_own: true }
        }
        None => format!("{what}: {error}").into(),
    }
}

fn described(made: &MadePassword) -> String {
    let until = made.expires.map(|expires| format!(" until {}", timestamp(expires)));
    format!("one{}", until.unwrap_or_default())
}

/// A new password. An attempt that begins after `began` serves all who wait for one.
async fn renewed(source: &Arc<PasswordSource>, began: Instant) -> Result<MadePassword, MintFailure> {
    let turn = source.turn.clone().lock_owned().await;
    if let Some(present) = source.present(began) {
        return Ok(present);
    }
    if let Some(failure) = source.failure(Some(began)) {
        return Err(failure);
    }
    let made = source.clone();
    let attempt = tokio::spawn(async move {
        make(&made).await;
        drop(turn);
    });
    let _ = attempt.await;
    source.usable().ok_or_else(|| source.failure(None).unwrap_or_else(|| "gave no password".into()))
}

/// Makes a password, and takes note of it or of the failure.
async fn make(source: &PasswordSource) {
    let started = source.begin();
    let printed = match &source.minting {
        Minting::Command { command, ttl } => run(command).await.map(|printed| (printed, *ttl)),
        // A token has an expiry.
        Minting::Aws(auth) => aws::token(auth).await.map(|token| (token, Duration::ZERO)),
    };
    let now = SystemTime::now();
    let made = printed.and_then(|((secret, expires), ttl)| {
        let left = expires.map(|expires| expires.duration_since(now).unwrap_or_default());
        match (left, expires) {
            (Some(Duration::ZERO), Some(expires)) => {
                Err(format!("gave a password that expired at {}", timestamp(expires)).into())
            }
            // A fifth of its life is left for attempts that fail.
            (left, _) => Ok((secret, expires, left.map_or(ttl, |left| left * 4 / 5))),
        }
    });
    match made {
        Ok((secret, expires, age)) => {
            let due = started.checked_add(age).unwrap_or(started);
            source.made(MadePassword { secret, due, expires, started });
        }
        Err(failure) => source.failed(started, failure),
    }
}

/// Runs a program for the password that it prints, and for its expiry. The error says what it did.
async fn run(command: &[Secret]) -> Result<(Secret, Option<SystemTime>), MintFailure> {
    let [program, arguments @ ..] = command else { return Err("names no program".into()) };
    let mut command = Command::new(program.expose_secret());
    command.args(arguments.iter().map(ExposeSecret::expose_secret));
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_withheld)) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.process_group(0).kill_on_drop(true).spawn();
    let mut child = child.map_err(|error| refused("cannot be run", &error))?;
    let mut group = Group::new(child.id());
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let ended = timeout(LIMIT, async {
        let mut reads = pin!(future::try_join(read(out, &mut stdout), read_beginning(err, &mut stderr)));
        let status = tokio::select! {
            read = &mut reads => {
                read?;
                child.wait().await
            }
            status = child.wait() => {
                // A process that it has left behind may keep them open.
                timeout(REST, reads).await.unwrap_or(Ok(((), ())))?;
                status
            }
        };
        status.map_err(|error| format!("cannot be waited for: {error}"))
    });
    let late = || format!("did not end within {}, and was killed", format_duration(LIMIT));
    let status = ended.await.unwrap_or_else(|_| Err(late()))?;
    group.leader = None;
    if status.success() {
        return Ok(parsed(stdout)?);
    }
    let code = status.code().map(|code| format!("ends with exit code {code}"));
    let code = code.unwrap_or_else(|| format!("ends with {status}"));
    // It may have printed the password before it failed, and quote it.
    let printed = Redaction::of_secret(redaction::raw(&stdout).trim().into());
    let errors = printed.bytes(&stderr);
    let Some(line) = errors.lines().find(|line| !line.trim().is_empty()) else {
        return Err(format!("{code}, without a word on standard error").into());
    };
    Err(MintFailure { what: code, said: Some(printable(line)), is_own: false })
}

/// Reads an output that is not too long.
async fn read(output: Option<impl AsyncRead + Unpin>, bytes: &mut Vec<u8>) -> Result<(), String> {
    if let Some(output) = output {
        let read = output.take(MOST_BYTES + 1).read_to_end(bytes).await;
        read.map_err(|error| format!("cannot be read: {error}"))?;
    }
    if bytes.len() as u64 > MOST_BYTES { Err("printed more than 64 KiB".to_owned()) } else { Ok(()) }
}

/// Reads an output to its end, and keeps its beginning. One that cannot be read has ended.
async fn read_beginning(output: Option<impl AsyncRead + Unpin>, bytes: &mut Vec<u8>) -> Result<(), String> {
    if let Some(mut output) = output {
        let _ = (&mut output).take(MOST_BYTES).read_to_end(bytes).await;
        let mut rest = output.take(MOST_ERRORS - MOST_BYTES + 1);
        let _ = copy(&mut rest, &mut sink()).await;
        if rest.limit() == 0 {
            return Err("printed more than 1 MiB on standard error".to_owned());
        }
    }
    Ok(())
}

/// The password that a program printed: the only line, or the token of an `ExecCredential` (Kubernetes' documentation,
/// "client-go credential plugins", "Input and output formats").
fn parsed(printed: Vec<u8>) -> Result<(Secret, Option<SystemTime>), String> {
    let printed = String::from_utf8(printed).map_err(|_| "printed bytes that are not UTF-8")?;
    let printed = printed.trim_end_matches(['\r', '\n']);
    let (password, expires) = match serde_json::from_str(printed) {
        Ok(json @ serde_json::Value::Object(_)) => {
            if json["kind"] != "ExecCredential" {
                return Err("printed JSON that is no ExecCredential".to_owned());
            }
            let status = &json["status"];
            let token = status["token"].as_str().ok_or("printed an ExecCredential without status.token")?;
            let expires = Some(&status["expirationTimestamp"]).filter(|expires| !expires.is_null());
            let expires = expires.map(|expires| {
                let time = expires.as_str().and_then(time);
                time.ok_or("printed an expirationTimestamp that is no time of RFC 3339")
            });
            (token.to_owned(), expires.transpose()?)
        }
        Err(_) if printed.trim_start().starts_with(['{', '\u{feff}']) => {
            return Err("printed JSON that cannot be read".to_owned());
        }
        Ok(_) | Err(_) => (printed.to_owned(), None),
    };
    let secret = Secret::from(password.as_str());
    // A JSON Web Token tells its own.
    let expires = expires.or_else(|| secret.expires().filter(|at| *at > SystemTime::now()));
    match &*password {
        "" => Err("printed no password".to_owned()),
        text if text.contains('\n') => {
            Err("printed several lines; print the password alone, or an ExecCredential".to_owned())
        }
        text if text.contains(char::is_control) => Err("printed a control character".to_owned()),
        text if text.len() > LONGEST => Err("printed a password of more than 16 KiB".to_owned()),
        _ => Ok((secret, expires)),
    }
}

/// A time of RFC 3339, with an offset from UTC or `Z`.
fn time(text: &str) -> Option<SystemTime> {
    if let Ok(time) = parse_rfc3339(text) {
        return Some(time);
    }
    let (local, offset) = text.split_at_checked(text.rfind(['+', '-'])?)?;
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let seconds = |text: &str, unit: u64| Some(u64::from(text.parse::<u16>().ok()?) * unit);
    let ahead = Duration::from_secs(seconds(hours, 3600)? + seconds(minutes, 60)?);
    let local = parse_rfc3339(&format!("{local}Z")).ok()?;
    let time = if offset.starts_with('+') { local.checked_sub(ahead) } else { local.checked_add(ahead) };
    // No other time can be written.
    time.filter(|time| (UNIX_EPOCH..UNIX_EPOCH + YEAR_10000).contains(time))
}

/// The number of programs that are waited for here.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Notified when one of them has been waited for.
static ENDED: Notify = Notify::const_new();

/// A running program and the processes that it has started, which are killed if it is given up.
struct Group {
    leader: Option<Pid>,
}

impl Group {
    fn new(leader: Option<u32>) -> Self {
        RUNNING.fetch_add(1, Ordering::Relaxed);
        Self { leader: leader.and_then(|leader| Pid::from_raw(i32::try_from(leader).ok()?)) }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            // It may have ended by now.
            let _ = kill_process_group(leader, Signal::KILL);
        }
        RUNNING.fetch_sub(1, Ordering::Relaxed);
        ENDED.notify_one();
    }
}

/// `true` while programs are waited for here: a wait for any child would take their exit codes.
pub(crate) fn is_waiting() -> bool {
    RUNNING.load(Ordering::Relaxed) > 0
}

/// Waits until a program has been waited for.
pub(crate) async fn waited() {
    ENDED.notified().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_read_with_any_offset_and_any_other_text_is_none() {
        let at = |seconds| Some(UNIX_EPOCH + Duration::from_secs(seconds));
        for text in ["2026-11-30T12:00:00Z", "2026-11-30T13:30:00+01:30", "2026-11-30T04:00:00-08:00"] {
            assert_eq!(time(text), at(1_796_040_000), "{text}");
        }
        assert_eq!(
            time("2026-11-30T12:00:00.500000+00:00"),
            at(1_796_040_000).map(|time| time + Duration::from_millis(500))
        );
        for text in [
            "",
            "-",
            "+",
            "soon",
            "2026-11-30",
            "2026-11-30T12:00:00",
            "2026-11-30T12:00:00+x:00",
            "\u{e9}-\u{e9}",
            "1970-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "2026-11-30T12:00:00+99999:00",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }
}
