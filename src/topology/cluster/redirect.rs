//! [`Redirect`]: a node's redirection of a client that asked for a key which is not its own.

use super::slots::AnnouncedHosts;
use crate::config::Address;
use crate::outcome::{Cause, Fault};
use crate::progress::NodeProgress;

/// A node's redirection of a client ("Redis cluster specification", Redirection and resharding).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    /// Another primary owns the slot.
    Moved,
    /// This slot is migrating to another primary, which already serves the key.
    Ask(u16, Address),
}

impl Redirect {
    /// The redirection behind the fault of a check, if it is one.
    pub(super) fn met(fault: &Fault, progress: &NodeProgress, hosts: AnnouncedHosts<'_>) -> Option<Self> {
        if fault.cause != Cause::Redirected {
            return None;
        }
        Self::of_words(&progress.redirect()?, hosts)
    }

    /// The redirection in a server's error, such as `MOVED 3999 127.0.0.1:6381`.
    pub(super) fn of_words(said: &str, hosts: AnnouncedHosts<'_>) -> Option<Self> {
        let mut words = said.split(' ');
        if words.next() != Some("ASK") {
            return Some(Self::Moved);
        }
        let slot = words.next()?.parse().ok()?;
        let (host, port) = words.next()?.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some(Self::Ask(slot, hosts.address(Some(host), port.parse().ok()?)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Announce;
    use crate::outcome::{Phase, Role};
    use crate::progress::Progress;

    fn parse(cause: Cause, said: &str) -> Option<Redirect> {
        let hosts = AnnouncedHosts { announce: Announce::AsIs, asked: "asked" };
        let progress = Progress::begin().node(&"node".into(), Role::Server);
        progress.redirected(said.to_owned());
        Redirect::met(&Fault::new(cause, Phase::Write, said), &progress, hosts)
    }

    #[test]
    fn a_redirection_is_read_in_the_servers_words() {
        let ask = |host: &str| Some(Redirect::Ask(5, Address::Tcp { host: host.to_owned(), port: 7 }));
        assert_eq!(parse(Cause::Redirected, "ASK 5 10.0.0.1:7"), ask("10.0.0.1"));
        assert_eq!(parse(Cause::Redirected, "ASK 5 ::1:7"), ask("::1"));
        assert_eq!(parse(Cause::Redirected, "ASK 5 :7"), ask("asked"), "no host is that which was asked");
        assert_eq!(parse(Cause::Redirected, "MOVED 5 10.0.0.1:7"), Some(Redirect::Moved));
        assert_eq!(parse(Cause::Redirected, "TRYAGAIN Multiple keys request"), Some(Redirect::Moved));
        assert_eq!(parse(Cause::ReadOnly, "ASK 5 10.0.0.1:7"), None);
        for garbage in ["ASK", "ASK x 10.0.0.1:7", "ASK 5", "ASK 5 10.0.0.1", "ASK 5 10.0.0.1:0"] {
            assert_eq!(parse(Cause::Redirected, garbage), None, "{garbage}");
        }
    }
}
