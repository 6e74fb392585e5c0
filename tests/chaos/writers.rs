//! Independent writers: what an application does, a new value that is set and read back, again and again.
//!
//! A node has two: one with a kept connection, whose attempts follow each other, and one with a new connection for each
//! attempt, which begins them at a fixed interval, however long the earlier ones take.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::judge::{Attempt, Outcome, Time};
use crate::routing::{most, named_by, owner_of, redirection};
use crate::wire::{Connection, Reply};

/// The longest that an attempt may take: more than the deadline of a check, with its grace.
pub(crate) const LIMIT: Duration = Duration::from_secs(1);

/// The time between two attempts on a kept connection, and between two that dial.
const KEPT: Duration = Duration::from_millis(70);
const DIALED: Duration = Duration::from_millis(110);

/// The same where an attempt is long: over TLS, or to several servers.
const KEPT_LONG: Duration = Duration::from_millis(90);
const DIALED_LONG: Duration = Duration::from_millis(150);

/// The time between two looks at a replica.
const LOOKS: Duration = Duration::from_millis(5);

/// The most servers that an attempt in a cluster goes to.
const REDIRECTIONS: usize = 5;

/// The lifetime of a key, in milliseconds.
const LIFETIME: &str = "10000";

/// A login. Its password may change.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) user: &'static str,
    password: Arc<RwLock<String>>,
}

/// A server as a client reaches it.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) login: Option<Login>,
    pub(crate) tls: Option<Arc<TlsConnector>>,
}

/// A node as an application sees it.
#[derive(Clone)]
pub(crate) enum Target {
    Redis(Server),
    Memcached(Server),
    /// A replica, which is to show what is written to its primary.
    Replica {
        primary: SocketAddr,
        replica: SocketAddr,
    },
    /// The owner of the slot of this hash tag.
    Slot {
        nodes: Vec<SocketAddr>,
        tag: String,
    },
    /// The primary that most of these Sentinels name, or else the one that they named last.
    Watched {
        sentinels: Vec<SocketAddr>,
        known: Arc<Mutex<Option<SocketAddr>>>,
    },
    /// Those Sentinels themselves: most of them name a primary, and no other names another.
    Sentinels(Vec<SocketAddr>),
}

impl Login {
    pub(crate) fn new(user: &'static str, password: &str) -> Self {
        Self { user, password: Arc::new(RwLock::new(password.to_owned())) }
    }

    pub(crate) fn password(&self) -> String {
        self.password.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn change(&self, password: &str) {
        password.clone_into(&mut self.password.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl From<SocketAddr> for Server {
    fn from(addr: SocketAddr) -> Self {
        Self { addr, login: None, tls: None }
    }
}

/// The attempts of one writer so far.
pub(crate) type Log = Arc<Mutex<Vec<Attempt>>>;

/// An attempt that did not succeed.
enum Miss {
    Failed,
    Unclear,
}

impl From<std::io::Error> for Miss {
    fn from(_: std::io::Error) -> Self {
        Self::Failed
    }
}

type Tried = Result<(), Miss>;

/// The state that a writer keeps between attempts.
#[derive(Default)]
struct Kept {
    connection: Option<Connection>,
    /// The server that the connection is to, where the node may move.
    at: Option<SocketAddr>,
    /// A second connection, to a replica.
    replica: Option<Connection>,
}

/// The writers of a run.
pub(crate) struct Writers {
    pub(crate) began: Instant,
    pub(crate) is_over: Arc<AtomicBool>,
    pub(crate) runtime: Handle,
    pub(crate) tasks: JoinSet<()>,
}

impl Writers {
    /// Starts the two writers of a node.
    pub(crate) fn start(&mut self, target: &Target) -> Vec<Log> {
        let (pause, turn) = match target {
            Target::Redis(server) | Target::Memcached(server) if server.tls.is_none() => (KEPT, DIALED),
            _ => (KEPT_LONG, DIALED_LONG),
        };
        let logs: [Log; 2] = Default::default();
        let [kept, dialed] = logs.clone();
        let writer = |log| Writer { target: target.clone(), began: self.began, log };
        let kept = writer(kept).write_on_kept_connections(pause, self.is_over.clone());
        let dialed = writer(dialed).write_on_new_connections(turn, self.is_over.clone());
        self.tasks.spawn_on(kept, &self.runtime);
        self.tasks.spawn_on(dialed, &self.runtime);
        logs.into()
    }
}

/// A writer of one node.
#[derive(Clone)]
struct Writer {
    target: Target,
    began: Instant,
    log: Log,
}

impl Writer {
    async fn write_on_kept_connections(self, pause: Duration, is_over: Arc<AtomicBool>) {
        let mut kept = Kept::default();
        while !is_over.load(Ordering::Relaxed) {
            if self.attempt(&mut kept).await != Outcome::Worked {
                kept = Kept::default();
            }
            sleep(pause).await;
        }
    }

    async fn write_on_new_connections(self, turn: Duration, is_over: Arc<AtomicBool>) {
        let mut turns = interval(turn);
        turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while !is_over.load(Ordering::Relaxed) {
            turns.tick().await;
            let writer = self.clone();
            tokio::spawn(async move { writer.attempt(&mut Kept::default()).await });
        }
        sleep(LIMIT).await;
    }

    async fn attempt(&self, kept: &mut Kept) -> Outcome {
        let start: Time = self.began.elapsed();
        let outcome = match timeout(LIMIT, write(&self.target, kept)).await {
            Ok(Ok(())) => Outcome::Worked,
            Ok(Err(Miss::Unclear)) => Outcome::Unclear,
            Ok(Err(Miss::Failed)) | Err(_) => Outcome::Failed,
        };
        let attempt = Attempt { start, end: self.began.elapsed(), outcome };
        self.log.lock().unwrap_or_else(PoisonError::into_inner).push(attempt);
        outcome
    }
}

/// A key or value that no attempt had before.
fn new_word() -> String {
    static WORDS: AtomicU64 = AtomicU64::new(0);
    format!("application-{:020}", WORDS.fetch_add(1, Ordering::Relaxed))
}

async fn write(target: &Target, kept: &mut Kept) -> Tried {
    match target {
        Target::Redis(server) => set_and_get(redis(&mut kept.connection, server).await?).await,
        Target::Memcached(server) => {
            set_and_get_in_memcached(memcached(&mut kept.connection, server).await?).await
        }
        Target::Replica { primary, replica } => {
            let (key, value) = (new_word(), new_word());
            let written = async {
                let primary = redis(&mut kept.connection, &(*primary).into()).await?;
                set(primary, &key, &value).await
            };
            // A fault of the primary's shows nothing of the replica.
            written.await.map_err(|_| Miss::Unclear)?;
            let replica = redis(&mut kept.replica, &(*replica).into()).await?;
            loop {
                match replica.ask(&["GET", &key]).await? {
                    Reply::Text(read) if read == value => return Ok(()),
                    Reply::Nothing => sleep(LOOKS).await,
                    _ => return Err(Miss::Failed),
                }
            }
        }
        Target::Slot { nodes, tag } => in_slot(nodes, tag, kept).await,
        Target::Watched { sentinels, known } => {
            let named = most(&named_by(sentinels, true).await, sentinels.len());
            let primary = {
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                *known = named.or(*known);
                known.ok_or(Miss::Unclear)?
            };
            if kept.at.replace(primary) != Some(primary) {
                kept.connection = None;
            }
            let written = async { set_and_get(redis(&mut kept.connection, &primary.into()).await?).await };
            // Without the Sentinels' word, another server may be the primary by now.
            written.await.map_err(|miss| if named.is_none() { Miss::Unclear } else { miss })
        }
        Target::Sentinels(sentinels) => {
            let named = named_by(sentinels, false).await;
            match most(&named, sentinels.len()) {
                Some(most) if named.iter().all(|named| *named == most) => Ok(()),
                None if named.len() <= sentinels.len() / 2 => Err(Miss::Failed),
                Some(_) | None => Err(Miss::Unclear),
            }
        }
    }
}

/// The connection to this server, dialed if there is none, and logged in.
async fn redis<'a>(kept: &'a mut Option<Connection>, server: &Server) -> Result<&'a mut Connection, Miss> {
    if kept.is_none() {
        let mut connection = Connection::dial(server.addr, server.tls.as_ref()).await?;
        if let Some(login) = &server.login {
            is_ok(&connection.ask(&["AUTH", login.user, &login.password()]).await?)?;
        }
        *kept = Some(connection);
    }
    kept.as_mut().ok_or(Miss::Failed)
}

async fn memcached<'a>(
    kept: &'a mut Option<Connection>,
    server: &Server,
) -> Result<&'a mut Connection, Miss> {
    if kept.is_none() {
        let mut connection = Connection::dial(server.addr, None).await?;
        if let Some(login) = &server.login {
            let login = format!("{} {}", login.user, login.password());
            is_stored(
                &connection.ask_memcached(&format!("set login 0 0 {}\r\n{login}\r\n", login.len())).await?,
            )?;
        }
        *kept = Some(connection);
    }
    kept.as_mut().ok_or(Miss::Failed)
}

async fn set_and_get(connection: &mut Connection) -> Tried {
    let (key, value) = (new_word(), new_word());
    set(connection, &key, &value).await?;
    holds(&connection.ask(&["GET", &key]).await?, &value)
}

async fn set(connection: &mut Connection, key: &str, value: &str) -> Tried {
    is_ok(&connection.ask(&["SET", key, value, "PX", LIFETIME]).await?)
}

/// The key is never written again, and its item stays: a full server that may not evict then has no room for another.
async fn set_and_get_in_memcached(connection: &mut Connection) -> Tried {
    let (key, value) = (new_word(), new_word());
    is_stored(&connection.ask_memcached(&format!("set {key} 0 0 {}\r\n{value}\r\n", value.len())).await?)?;
    let found = connection.ask_memcached(&format!("get {key}\r\n")).await?;
    let is_read =
        found.starts_with("VALUE ") && connection.line().await? == value && connection.line().await? == "END";
    if is_read { Ok(()) } else { Err(Miss::Failed) }
}

fn is_ok(reply: &Reply) -> Tried {
    holds(reply, "OK")
}

fn is_stored(reply: &str) -> Tried {
    if reply == "STORED" { Ok(()) } else { Err(Miss::Failed) }
}

fn holds(reply: &Reply, value: &str) -> Tried {
    if matches!(reply, Reply::Text(read) if read == value) { Ok(()) } else { Err(Miss::Failed) }
}

/// Writes and reads at the owner of a slot, which may have changed: redirections are followed, and a fault is the
/// owner's only if the map still names it.
async fn in_slot(nodes: &[SocketAddr], tag: &str, kept: &mut Kept) -> Tried {
    let mut owner = match kept.at {
        Some(owner) => owner,
        None => owner_of(nodes, tag).await.ok_or(Miss::Failed)?,
    };
    let mut is_asked = false;
    for _ in 0..REDIRECTIONS {
        if kept.at.replace(owner) != Some(owner) {
            kept.connection = None;
        }
        match at_owner(owner, tag, is_asked, kept).await {
            Ok(None) => return Ok(()),
            Ok(Some(redirection)) => (owner, is_asked) = redirection,
            Err(_) => match owner_of(nodes, tag).await {
                Some(new) if new != owner => (owner, is_asked) = (new, false),
                Some(_) | None => return Err(Miss::Failed),
            },
        }
    }
    Err(Miss::Failed)
}

/// The server to which the owner redirects, if it does, and whether for this command alone (ASK).
async fn at_owner(
    owner: SocketAddr,
    tag: &str,
    is_asked: bool,
    kept: &mut Kept,
) -> Result<Option<(SocketAddr, bool)>, Miss> {
    let connection = redis(&mut kept.connection, &owner.into()).await?;
    let (key, value) = (format!("{{{tag}}}{}", new_word()), new_word());
    for (command, expected) in
        [(&["SET", &key, &value, "PX", LIFETIME][..], "OK"), (&["GET", &key][..], value.as_str())]
    {
        if is_asked {
            is_ok(&connection.ask(&["ASKING"]).await?)?;
        }
        match connection.ask(command).await? {
            Reply::Error(error) => return redirection(&error).map(Some).ok_or(Miss::Failed),
            reply => holds(&reply, expected)?,
        }
    }
    Ok(None)
}
