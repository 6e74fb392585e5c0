//! One connection: each command is answered under the fault that is in force when it is read.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::answer::{ParseStep, Reply, Then};
use super::fault::{InjectedFault, StoreView};
use super::store::MAX_VALUE;
use super::{Protocol, ServerParts, memcached, resp};

/// The most bytes that are kept of an incomplete command. If more come, the connection is closed.
const MAX_COMMAND: usize = MAX_VALUE + (128 << 10);

enum Session {
    Redis(resp::RespSession),
    Memcached(memcached::MemcachedSession),
}

impl Session {
    fn step(&mut self, input: &[u8], view: &mut StoreView<'_>) -> ParseStep {
        match self {
            Self::Redis(session) => session.step(input, view),
            Self::Memcached(session) => session.step(input, view),
        }
    }
}

/// Serves one connection to its end. `number` tells it from the server's others.
pub(super) async fn serve(
    stream: TcpStream,
    number: u64,
    shared: Arc<ServerParts>,
    slot: Option<OwnedSemaphorePermit>,
) {
    // An error of the connection concerns only the client.
    let _ = converse(stream, number, &shared).await;
    drop(slot);
}

async fn converse(mut stream: TcpStream, number: u64, shared: &ServerParts) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut session = match shared.protocol {
        Protocol::Redis => Session::Redis(resp::RespSession::new(number)),
        Protocol::Memcached => Session::Memcached(memcached::MemcachedSession::default()),
    };
    let mut faults = shared.fault.subscribe();
    let mut input = Vec::new();
    loop {
        let fault = faults.borrow_and_update().clone();
        if fault == InjectedFault::Killed {
            return Ok(());
        }
        if fault == InjectedFault::Hung {
            // A hung server does not even notice that a client has gone.
            let _ = faults.changed().await;
            continue;
        }
        match step(&mut session, &input, &fault, shared) {
            ParseStep::Incomplete if input.len() > MAX_COMMAND => return Ok(()),
            ParseStep::Incomplete => {
                // The fault comes first: bytes sent after a switch must be read under the new fault.
                let read = tokio::select! {
                    biased;
                    _ = faults.changed() => continue,
                    read = stream.read_buf(&mut input) => read?,
                };
                if read == 0 {
                    return Ok(());
                }
            }
            ParseStep::Skip(bytes) => drop(input.drain(..bytes)),
            ParseStep::Command(bytes, answer) => {
                input.drain(..bytes);
                let answer = fault.spoil(answer);
                let goes_on = if answer.is_prompt() {
                    send(&mut stream, answer).await?
                } else {
                    // After an interrupted answer, the connection is of no use.
                    tokio::select! {
                        biased;
                        _ = faults.changed() => false,
                        sent = send(&mut stream, answer) => sent?,
                    }
                };
                if !goes_on {
                    return Ok(());
                }
            }
        }
    }
}

fn step(session: &mut Session, input: &[u8], fault: &InjectedFault, shared: &ServerParts) -> ParseStep {
    let mut state = shared.state.lock();
    let mut view = StoreView::new(&mut state, fault);
    let mut step = session.step(input, &mut view);
    let endless = view.endless;
    if let ParseStep::Command(_, answer) = &mut step {
        state.commands += 1;
        if endless {
            answer.then = Then::Endless;
        }
    }
    step
}

/// Sends an answer. `true` if another may follow.
async fn send(stream: &mut TcpStream, answer: Reply) -> io::Result<bool> {
    match answer.pause {
        None => stream.write_all(&answer.bytes).await?,
        Some(pause) => {
            for byte in &answer.bytes {
                stream.write_all(&[*byte]).await?;
                tokio::time::sleep(pause).await;
            }
        }
    }
    match answer.then {
        Then::Next => Ok(true),
        Then::Close => Ok(false),
        Then::Silence => {
            let mut ignored = [0; 4096];
            while stream.read(&mut ignored).await? > 0 {}
            Ok(false)
        }
        Then::Endless => loop {
            stream.write_all(&[b'x'; 16 << 10]).await?;
        },
    }
}
