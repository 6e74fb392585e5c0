//! The faults, each made at real servers and ended again.

use std::any::Any;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::plan::{Event, Kind};
use crate::support::sentinel::NAME;
use crate::support::{Cluster, Link, Memcached, Namespace, Redis, Sentinel, Watched, eventually};
use crate::writers::Login;

/// The servers of an alias, which can be broken and repaired.
pub(crate) trait Breakable {
    /// Makes a fault. The node whose server was killed, if its clients were connected to that server itself.
    fn begin(&mut self, event: &Event) -> Option<usize>;
    /// Ends it; on return the servers have settled.
    fn end(&mut self, event: &Event);
}

/// A server of either kind.
pub(crate) trait Cache {
    fn kill(&mut self);
    fn restart(&mut self);
    fn stop(&self);
    fn cont(&self);
    fn fill(&self);
    fn make_room(&self);
}

macro_rules! cache {
    ($server:ty) => {
        impl Cache for $server {
            fn kill(&mut self) {
                Self::kill(self);
            }

            fn restart(&mut self) {
                Self::restart(self);
            }

            fn stop(&self) {
                Self::stop(self);
            }

            fn cont(&self) {
                Self::cont(self);
            }

            fn fill(&self) {
                Self::fill(self);
            }

            fn make_room(&self) {
                Self::make_room(self);
            }
        }
    };
}

cache!(Redis);
cache!(Memcached);

/// Makes a fault that every server can have.
fn break_server(server: &mut dyn Cache, kind: Kind) {
    match kind {
        Kind::Kill => server.kill(),
        Kind::Restart => {
            server.kill();
            server.restart();
        }
        Kind::Stop => server.stop(),
        Kind::Fill => server.fill(),
        other => panic!("{other} is no fault of one server"),
    }
}

fn repair_server(server: &mut dyn Cache, kind: Kind) {
    match kind {
        Kind::Kill => server.restart(),
        Kind::Restart => (),
        Kind::Stop => server.cont(),
        Kind::Fill => server.make_room(),
        other => panic!("{other} is no fault of one server"),
    }
}

/// Servers of which each is a node, or the only one behind a proxy.
pub(crate) struct Servers<C> {
    pub(crate) servers: Vec<C>,
    /// What stands before them.
    pub(crate) proxy: Option<Box<dyn Any + Send>>,
}

impl Breakable for Servers<Memcached> {
    fn begin(&mut self, event: &Event) -> Option<usize> {
        break_server(&mut self.servers[event.server], event.kind);
        (event.kind == Kind::Kill).then_some(event.server)
    }

    fn end(&mut self, event: &Event) {
        repair_server(&mut self.servers[event.server], event.kind);
    }
}

impl Breakable for Servers<Redis> {
    fn begin(&mut self, event: &Event) -> Option<usize> {
        let server = &mut self.servers[event.server];
        match event.kind {
            Kind::PauseWrites => {
                server.command(&["CLIENT", "PAUSE", "60000", "WRITE"]);
            }
            kind => break_server(server, kind),
        }
        (event.kind == Kind::Kill && self.proxy.is_none()).then_some(event.server)
    }

    fn end(&mut self, event: &Event) {
        let server = &mut self.servers[event.server];
        match event.kind {
            Kind::PauseWrites => {
                server.command(&["CLIENT", "UNPAUSE"]);
            }
            kind => repair_server(server, kind),
        }
    }
}

/// A Redis that may become the replica of another.
pub(crate) struct Plain {
    pub(crate) server: Servers<Redis>,
    pub(crate) other: Redis,
}

impl Breakable for Plain {
    fn begin(&mut self, event: &Event) -> Option<usize> {
        if event.kind == Kind::ReadOnly {
            self.server.servers[0].become_replica_of(&self.other);
            return None;
        }
        self.server.begin(event)
    }

    fn end(&mut self, event: &Event) {
        if event.kind == Kind::ReadOnly {
            self.server.servers[0].become_primary();
        } else {
            self.server.end(event);
        }
    }
}

/// A Redis with a login, over TLS.
pub(crate) struct Secure {
    pub(crate) redis: Redis,
    pub(crate) login: Login,
    pub(crate) password_file: PathBuf,
    pub(crate) passwords: u32,
}

impl Secure {
    /// Longer than it takes the sidecar to look at the file again.
    const RELOADED: Duration = Duration::from_secs(4);

    /// Lets the user in with the present password alone.
    pub(crate) fn let_in(&self) {
        self.redis.set_user(self.login.user, &format!("on ~* &* +@all >{}", self.login.password()));
    }
}

impl Breakable for Secure {
    fn begin(&mut self, event: &Event) -> Option<usize> {
        match event.kind {
            Kind::Rotate => {
                self.passwords += 1;
                let password = format!("password-{}", self.passwords);
                self.redis.command(&["ACL", "SETUSER", self.login.user, &format!(">{password}")]);
                let new = self.password_file.with_extension("new");
                fs::write(&new, &password).expect("to write");
                fs::rename(&new, &self.password_file).expect("to replace a file");
                self.login.change(&password);
                std::thread::sleep(Self::RELOADED);
            }
            Kind::Revoke => {
                self.redis.set_user(self.login.user, "on ~* &* +@all >another");
                self.redis.disconnect_clients();
            }
            kind => break_server(&mut self.redis, kind),
        }
        (event.kind == Kind::Kill).then_some(0)
    }

    fn end(&mut self, event: &Event) {
        match event.kind {
            Kind::Rotate | Kind::Revoke => (),
            kind => repair_server(&mut self.redis, kind),
        }
        self.let_in();
    }
}

/// A Redis behind a link.
pub(crate) struct Linked {
    pub(crate) redis: Redis,
    pub(crate) link: Link,
}

impl Breakable for Linked {
    fn begin(&mut self, event: &Event) -> Option<usize> {
        match event.kind {
            Kind::Cut => self.link.hold(),
            Kind::Delay => self.link.delay(event.hold / 8),
            kind => break_server(&mut self.redis, kind),
        }
        None
    }

    fn end(&mut self, event: &Event) {
        match event.kind {
            Kind::Cut => self.link.release(),
            Kind::Delay => self.link.delay(Duration::ZERO),
            kind => repair_server(&mut self.redis, kind),
        }
    }
}

/// A Redis in a network namespace.
pub(crate) struct Distant {
    pub(crate) redis: Redis,
    pub(crate) namespace: Namespace,
}

impl Breakable for Distant {
    fn begin(&mut self, event: &Event) -> Option<usize> {
        match event.kind {
            Kind::Cut => self.namespace.cut(),
            kind => break_server(&mut self.redis, kind),
        }
        None
    }

    fn end(&mut self, event: &Event) {
        match event.kind {
            Kind::Cut => self.namespace.join(),
            kind => repair_server(&mut self.redis, kind),
        }
    }
}

/// A primary and two replicas, the second behind a link.
pub(crate) struct Replicas {
    pub(crate) servers: [Redis; 3],
    pub(crate) link: Link,
}

impl Breakable for Replicas {
    fn begin(&mut self, event: &Event) -> Option<usize> {
        if event.kind == Kind::Cut {
            self.link.hold();
            return None;
        }
        break_server(&mut self.servers[event.server], event.kind);
        (event.kind == Kind::Kill).then_some(event.server)
    }

    fn end(&mut self, event: &Event) {
        if event.kind == Kind::Cut {
            self.link.release();
        } else {
            repair_server(&mut self.servers[event.server], event.kind);
        }
        let [primary, replicas @ ..] = &self.servers;
        for replica in replicas {
            replica.catch_up_with(primary);
        }
    }
}

/// A primary, two replicas, and three Sentinels.
pub(crate) struct WatchedServers {
    pub(crate) watched: Watched,
    /// The server that was broken last.
    pub(crate) broken: usize,
}

impl WatchedServers {
    /// The primary, if all Sentinels name it and know the rest.
    fn settled(&self) -> Option<usize> {
        let Watched { servers, sentinels } = &self.watched;
        let is_named = |server: &Redis| {
            sentinels.iter().all(|sentinel| sentinel.names() == Some(server.port())) && !server.is_replica()
        };
        let primary = servers.iter().position(is_named);
        primary.filter(|_| sentinels.iter().all(|sentinel| sentinel.knows(2, 2)))
    }

    /// The same, waited for.
    fn primary(&self) -> usize {
        let mut primary = None;
        eventually("all Sentinels name one primary", || {
            primary = self.settled();
            primary.is_some()
        });
        primary.expect("a primary")
    }

    /// Asks a Sentinel for a failover, again and again: it is refused for some seconds after another one, and on a busy
    /// machine it may be given up.
    fn fail_over(&self, sentinel: usize) {
        const ONCE_MORE: Duration = Duration::from_secs(5);
        let primary = self.primary();
        let mut asked = None::<Instant>;
        eventually("a failover ends", || {
            if asked.is_none_or(|asked| asked.elapsed() > ONCE_MORE) {
                let answer = self.watched.sentinels[sentinel].ask(&["SENTINEL", "FAILOVER", NAME]);
                asked = answer.is_ok_and(|answer| answer.is_ok()).then(Instant::now);
            }
            self.settled().is_some_and(|settled| settled != primary)
        });
    }
}

impl Breakable for WatchedServers {
    fn begin(&mut self, event: &Event) -> Option<usize> {
        match event.kind {
            Kind::Failover => self.fail_over(event.server),
            Kind::StopSentinels => self.watched.sentinels[..2].iter().for_each(Sentinel::stop),
            kind => {
                self.broken = self.primary();
                break_server(&mut self.watched.servers[self.broken], kind);
            }
        }
        (event.kind == Kind::Kill).then_some(0)
    }

    fn end(&mut self, event: &Event) {
        match event.kind {
            Kind::Failover => (),
            Kind::StopSentinels => self.watched.sentinels[..2].iter().for_each(Sentinel::cont),
            kind => repair_server(&mut self.watched.servers[self.broken], kind),
        }
        self.primary();
    }
}

/// A cluster of three primaries with a replica each. A node of the judge's is a slot, and its owner one of a pair.
pub(crate) struct Slots {
    pub(crate) cluster: Cluster,
    /// The primary and the replica of each third of the slots.
    pub(crate) pairs: [[usize; 2]; 3],
}

/// The slot of each third that writers use, and that is moved with its neighbors.
pub(crate) const SLOTS: [u16; 3] = [100, 6000, 12_000];

impl Slots {
    fn move_slots(&self, slot: u16, from: usize, to: usize) {
        self.cluster.move_slots(slot - 1..=slot + 1, from, to);
        self.cluster.wait_until_agreed();
    }

    /// Waits until all nodes agree, and each replica has its data.
    fn settle(&mut self) {
        self.cluster.wait_until_whole();
        for pair in &mut self.pairs {
            eventually("a pair has one primary", || {
                let role = |node: usize| self.cluster.nodes[node].info("role");
                match pair.map(role).each_ref().map(String::as_str) {
                    ["master", "slave"] => true,
                    ["slave", "master"] => {
                        pair.reverse();
                        true
                    }
                    _ => false,
                }
            });
            self.cluster.wait_until_replica(pair[1]);
        }
    }
}

impl Breakable for Slots {
    fn begin(&mut self, event: &Event) -> Option<usize> {
        let [primary, replica] = self.pairs[event.server];
        match event.kind {
            Kind::Failover => {
                self.cluster.fail_over_to(replica);
                self.settle();
            }
            Kind::Reshard => {
                self.move_slots(SLOTS[event.server], primary, self.pairs[(event.server + 1) % 3][0]);
            }
            kind => break_server(&mut self.cluster.nodes[primary], kind),
        }
        (event.kind == Kind::Kill).then_some(event.server)
    }

    fn end(&mut self, event: &Event) {
        let [primary, replica] = self.pairs[event.server];
        match event.kind {
            Kind::Failover => (),
            Kind::Reshard => {
                self.move_slots(SLOTS[event.server], self.pairs[(event.server + 1) % 3][0], primary);
            }
            kind => {
                if kind == Kind::Kill {
                    self.cluster.wait_until_primary(replica);
                }
                repair_server(&mut self.cluster.nodes[primary], kind);
            }
        }
        self.settle();
    }
}
