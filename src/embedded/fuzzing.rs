//! Embedded servers without a socket.

use super::answer::{ParseStep, Then};
use super::fault::{InjectedFault, StoreView};
use super::{Protocol, StoreState};
use super::{memcached::MemcachedSession, resp::RespSession};

/// A server of Redis' protocol: its answers to each piece that a client sends, and their number.
pub(crate) fn redis() -> impl FnMut(&[u8]) -> (Vec<u8>, usize) + Send + Sync {
    answers(Protocol::Redis)
}

/// The same of memcached's.
pub(crate) fn memcached() -> impl FnMut(&[u8]) -> (Vec<u8>, usize) + Send + Sync {
    answers(Protocol::Memcached)
}

fn answers(protocol: Protocol) -> impl FnMut(&[u8]) -> (Vec<u8>, usize) + Send + Sync {
    let (mut redis, mut memcached) = (RespSession::new(1), MemcachedSession::default());
    let (mut state, mut input, mut is_closed) = (StoreState::default(), Vec::new(), false);
    move |sent| {
        input.extend_from_slice(sent);
        let (mut bytes, mut number) = (Vec::new(), 0);
        while !is_closed {
            let mut view = StoreView::new(&mut state, &InjectedFault::Healthy);
            let step = match protocol {
                Protocol::Redis => redis.step(&input, &mut view),
                Protocol::Memcached => memcached.step(&input, &mut view),
            };
            match step {
                ParseStep::Incomplete => break,
                ParseStep::Skip(length) => drop(input.drain(..length)),
                ParseStep::Command(length, reply) => {
                    input.drain(..length);
                    number += usize::from(!reply.bytes.is_empty());
                    bytes.extend(reply.bytes);
                    is_closed = reply.then == Then::Close;
                }
            }
        }
        (bytes, number)
    }
}
