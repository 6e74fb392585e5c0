//! The switches, and their descriptions.

use std::fmt::Write as _;
use std::io;

use crate::embedded::{EmbeddedServer, InjectedFault};
use crate::outcome::Cause;

/// The demo's servers, each with its switches.
#[derive(Debug)]
pub(super) struct Switchboard {
    nodes: [DemoNode; 3],
    /// The URL of their health; `control_url` is the URL of the switches.
    health_url: String,
    control_url: String,
}

#[derive(Debug)]
struct DemoNode {
    /// Its name for the switches.
    name: &'static str,
    /// The alias that it belongs to.
    alias: &'static str,
    server: EmbeddedServer,
    switches: &'static [Switch],
}

/// A way to break a server, or to repair it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Switch {
    Killed,
    Hung,
    ReadOnly,
    Full,
    Masking,
    Mend,
}

/// The error for a switch that was not thrown.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotThrown {
    /// There is no such switch.
    #[error("there is no switch {0}")]
    Unknown(String),
    /// A killed server did not get its port back.
    #[error("cannot listen again, try once more: {0}")]
    Io(#[from] io::Error),
}

impl Switch {
    const OF_REDIS: &[Self] =
        &[Self::Killed, Self::Hung, Self::ReadOnly, Self::Full, Self::Masking, Self::Mend];
    /// memcached has no read-only state.
    const OF_MEMCACHED: &[Self] = &[Self::Killed, Self::Hung, Self::Full, Self::Masking, Self::Mend];

    fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Hung => "hung",
            Self::ReadOnly => "read-only",
            Self::Full => "full",
            Self::Masking => "masking",
            Self::Mend => "mend",
        }
    }

    fn fault(self) -> InjectedFault {
        match self {
            Self::Killed => InjectedFault::Killed,
            Self::Hung => InjectedFault::Hung,
            Self::ReadOnly => InjectedFault::ReadOnly,
            Self::Full => InjectedFault::Full,
            Self::Masking => InjectedFault::Masking,
            Self::Mend => InjectedFault::Healthy,
        }
    }

    /// The name of the server's state while the switch is in force.
    fn state(self) -> &'static str {
        if self == Self::Mend { "healthy" } else { self.name() }
    }

    /// The server's behavior while the switch is in force, and the cause that a check reports.
    fn truth(self) -> (&'static str, Option<Cause>) {
        match self {
            Self::Killed => ("It refuses new connections and has closed the open ones", Some(Cause::Refused)),
            Self::Hung => ("It accepts connections but never answers", Some(Cause::TimedOut)),
            Self::ReadOnly => {
                ("It refuses writes like a read-only replica, but answers PING", Some(Cause::ReadOnly))
            }
            Self::Full => {
                ("It refuses writes because its memory is full, but answers reads", Some(Cause::OutOfMemory))
            }
            Self::Masking => ("It acknowledges writes but drops them, so reads miss", Some(Cause::Masked)),
            Self::Mend => ("It works again", None),
        }
    }
}

impl DemoNode {
    /// The name of its state.
    fn state(&self) -> &'static str {
        let fault = self.server.fault();
        self.switches.iter().find(|switch| switch.fault() == fault).map_or("broken", |switch| switch.state())
    }
}

impl Switchboard {
    pub(super) fn new(
        main: EmbeddedServer,
        sessions: [EmbeddedServer; 2],
        health_url: String,
        control_url: String,
    ) -> Self {
        let [first, second] = sessions;
        let node = |name, alias, server, switches| DemoNode { name, alias, server, switches };
        let nodes = [
            node("main", "main", main, Switch::OF_REDIS),
            node("sessions-1", "sessions", first, Switch::OF_MEMCACHED),
            node("sessions-2", "sessions", second, Switch::OF_MEMCACHED),
        ];
        Self { nodes, health_url, control_url }
    }

    /// Throws a switch of a node, or of every node of an alias. Returns the resulting behavior, and commands to try.
    pub(super) fn throw(&self, name: &str, switch: &str) -> Result<String, NotThrown> {
        let nodes: Vec<&DemoNode> =
            self.nodes.iter().filter(|node| node.name == name || node.alias == name).collect();
        let switch = nodes
            .first()
            .and_then(|node| node.switches.iter().find(|known| known.name() == switch))
            .ok_or_else(|| NotThrown::Unknown(format!("{name} {switch}")))?;
        for node in &nodes {
            node.server.set_fault(switch.fault())?;
        }
        let names: Vec<_> = nodes.iter().map(|node| node.name).collect();
        let (truth, cause) = switch.truth();
        let expected = match cause {
            Some(cause) => format!("503, {cause}"),
            None => match self.broken() {
                broken if broken.is_empty() => "200".to_owned(),
                broken => format!("still broken: {broken}"),
            },
        };
        Ok(format!(
            "{}: {}. {truth}. Try: curl -i {}/health ({expected})",
            names.join(", "),
            switch.state(),
            self.health_url
        ))
    }

    fn broken(&self) -> String {
        let broken = self.nodes.iter().filter(|node| node.server.fault() != InjectedFault::Healthy);
        broken.map(|node| node.name).collect::<Vec<_>>().join(", ")
    }

    /// Carries out a typed line: a name and a switch, or `help`.
    pub(super) fn typed(&self, line: &str) -> String {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["help"] => format!(
                "{}\nType a name and a switch, such as: main masking. quit ends the demo.",
                self.list()
            ),
            [name, switch] => match self.throw(name, switch) {
                Ok(thrown) => thrown,
                Err(error) => format!("{error}; help lists them all"),
            },
            _ => format!("there is no switch {line}; help lists them all"),
        }
    }

    /// Every switch, and the state of every node.
    pub(super) fn list(&self) -> String {
        let mut list = format!("{:<12}{:<11}switches\n", "name", "state");
        for node in &self.nodes {
            let switches: Vec<_> = node.switches.iter().map(|switch| switch.name()).collect();
            let _ = writeln!(list, "{:<12}{:<11}{}", node.name, node.state(), switches.join(" "));
        }
        let _ = writeln!(list, "sessions    sessions-1 and sessions-2 together\n");
        let _ = write!(list, "Example:    {}", self.command("main/masking"));
        list
    }

    /// The servers with their addresses, and commands to try.
    pub(super) fn introduction(&self, notes: &[String]) -> String {
        let [main, first, second] = self.nodes.each_ref().map(|node| node.server.addr());
        let look = format!("curl -i {}/health", self.health_url);
        let notes = notes.iter().fold(String::new(), |text, note| text + "\nNote: " + note);
        format!(
            "\
cache-canary demo: embedded caches, a server that checks them, and switches to break them.

Watch:  {}/  (in a browser; keep it open while you break a cache)

  default      forwards to main
  main         a Redis, {main}
  sessions     two memcached, {first} and {second}
  staticfiles  local memory, which a sidecar cannot check
{notes}
Look:   {look}
Break:  {}
Look:   {look}
Mend:   {}
Past:   curl '{}/transitions?format=text'

The broken Redis still answers PING:  redis-cli -p {} ping
More switches (killed, hung, read-only, full; sessions-1, sessions-2):  curl {}
On a terminal, type a switch: main masking, main mend, help, quit. Ctrl-C ends the demo.
",
            self.health_url,
            self.command("main/masking"),
            self.command("main/mend"),
            self.health_url,
            main.port(),
            self.control_url,
        )
    }

    /// The command that throws a switch.
    fn command(&self, path: &str) -> String {
        format!("curl -X POST {}/{path}", self.control_url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn switchboard() -> Switchboard {
        let main = EmbeddedServer::redis().await.unwrap();
        let sessions =
            [EmbeddedServer::memcached().await.unwrap(), EmbeddedServer::memcached().await.unwrap()];
        Switchboard::new(main, sessions, "http://health".to_owned(), "http://control".to_owned())
    }

    #[tokio::test]
    async fn a_typed_line_throws_the_switch_and_reports_the_state() {
        let switchboard = switchboard().await;
        assert_eq!(
            switchboard.typed("main masking"),
            "main: masking. It acknowledges writes but drops them, so reads miss. \
             Try: curl -i http://health/health (503, masked)"
        );
        assert_eq!(switchboard.nodes[0].server.fault(), InjectedFault::Masking);
        assert_eq!(
            switchboard.typed("  main   mend "),
            "main: healthy. It works again. Try: curl -i http://health/health (200)"
        );
        assert_eq!(switchboard.nodes[0].server.fault(), InjectedFault::Healthy);
    }

    #[tokio::test]
    async fn an_alias_of_two_nodes_is_broken_whole_and_each_node_alone() {
        let switchboard = switchboard().await;
        assert!(switchboard.typed("sessions hung").starts_with("sessions-1, sessions-2: hung."));
        assert!(switchboard.typed("sessions-1 mend").ends_with("(still broken: sessions-2)"));
        let faults = switchboard.nodes.each_ref().map(|node| node.server.fault());
        assert_eq!(faults, [InjectedFault::Healthy, InjectedFault::Healthy, InjectedFault::Hung]);
    }

    #[tokio::test]
    async fn an_unknown_switch_is_refused() {
        let switchboard = switchboard().await;
        for typed in [
            "main",
            "main on fire",
            "nobody masking",
            "main smoking",
            "sessions read-only",
            "staticfiles hung",
        ] {
            assert_eq!(switchboard.typed(typed), format!("there is no switch {typed}; help lists them all"));
        }
        assert_eq!(switchboard.broken(), "");
    }

    #[tokio::test]
    async fn help_lists_every_switch_and_state() {
        let switchboard = switchboard().await;
        switchboard.typed("sessions-2 full");
        assert_eq!(
            switchboard.typed("help"),
            "\
name        state      switches
main        healthy    killed hung read-only full masking mend
sessions-1  healthy    killed hung full masking mend
sessions-2  full       killed hung full masking mend
sessions    sessions-1 and sessions-2 together

Example:    curl -X POST http://control/main/masking
Type a name and a switch, such as: main masking. quit ends the demo."
        );
    }
}
