//! Connections to one Redis: made when needed, kept while idle, dropped at the first error. What goes wrong
//! becomes an [`Error`] here, and nowhere else.
//!
//! Must never show a user or a password. A connection knows which start of Redis it leads to: that is what
//! tells a restart or a failover from a short interruption.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::io::tcp::TcpSettings;
use redis::{
    Client, Connection, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError, RedisResult,
    ServerErrorKind,
};

use crate::error::{Error, ErrorKind, Result};
use crate::path::escape;

use super::script::Scripts;

/// Idle connections that are kept at most.
const IDLE_MAX: usize = 8;
/// The oldest Redis whose streams tell everything that is needed.
const VERSION_MIN: u32 = 7;
/// After a failure, what does not matter much is not tried again for so long.
const REST: Duration = Duration::from_secs(1);
/// Letters of an answer of Redis that are shown at most.
const SHOWN_MAX: usize = 300;

/// Where a Redis is, and what must never be shown of that.
pub(super) struct Target {
    info: ConnectionInfo,
    place: String,
    secrets: Vec<String>,
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self> {
        // The error of the library may quote parts of the URL.
        let info = url.into_connection_info().map_err(|_| refused(url))?;
        if !info.addr().is_supported() {
            return Err(refused(url));
        }
        let place = match info.addr() {
            ConnectionAddr::Unix(path) => escape(path.as_os_str().as_encoded_bytes()),
            addr => escape(addr.to_string().as_bytes()),
        };
        let settings = info.redis_settings();
        let mut secrets = Vec::new();
        for secret in [settings.password(), settings.username()].into_iter().flatten() {
            if !secret.is_empty() {
                secrets.push(escape(secret.as_bytes()));
            }
        }
        let settings = settings.clone().set_skip_set_lib_name();
        let tcp = TcpSettings::default().set_nodelay(true);
        Ok(Self { info: info.set_redis_settings(settings).set_tcp_settings(tcp), place, secrets })
    }
}

fn refused(url: &str) -> Error {
    let scheme = url.split(':').next().unwrap_or_default().to_ascii_lowercase();
    if matches!(scheme.as_str(), "rediss" | "valkeys") {
        return Error::new(ErrorKind::Unsupported, "TLS to Redis (`rediss://`) is not built in")
            .with_hint("let a tunnel or a proxy on this machine speak TLS, and connect to that");
    }
    Error::invalid("the URL of Redis is not understood").with_hint(
        "it looks like `redis://[user:password@]host[:port][/database]` or `unix:///path/to/socket`",
    )
}

/// One connection.
pub(super) struct Link {
    connection: Connection,
    run: String,
}

impl Link {
    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// The id of the start of Redis that this leads to.
    pub(super) fn run(&self) -> &str {
        &self.run
    }
}

/// Since when Redis does not answer.
struct Outage {
    since: Instant,
    last: Instant,
    why: String,
}

/// All connections of a fleet.
pub(super) struct Pool {
    target: Target,
    prefix: String,
    connect_timeout: Duration,
    command_timeout: Duration,
    scripts: Scripts,
    idle: Mutex<Vec<Link>>,
    outage: Mutex<Option<Outage>>,
    /// Whose connections these are: a child of a `fork` must not talk on them.
    process: u32,
}

impl Pool {
    pub(super) fn new(
        target: Target,
        prefix: String,
        connect_timeout: Duration,
        command_timeout: Duration,
    ) -> Self {
        Self {
            target,
            prefix,
            connect_timeout,
            command_timeout,
            scripts: Scripts::new(),
            idle: Mutex::default(),
            outage: Mutex::default(),
            process: std::process::id(),
        }
    }

    pub(super) fn place(&self) -> &str {
        &self.target.place
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn scripts(&self) -> &Scripts {
        &self.scripts
    }

    pub(super) fn command_timeout(&self) -> Duration {
        self.command_timeout
    }

    /// The key of something; kinds keep names apart that are equal.
    pub(super) fn key(&self, kind: &str, name: &str) -> String {
        format!("{}:{kind}:{name}", self.prefix)
    }

    /// The key that knows which Redis this is.
    pub(super) fn server_key(&self) -> String {
        format!("{}:server", self.prefix)
    }

    /// Runs something on a connection of its own. It may run twice: an idle connection may have been cut
    /// long ago, and that shows only now.
    pub(super) fn call<T>(&self, mut job: impl FnMut(&mut Link) -> RedisResult<T>) -> Result<T> {
        self.check_process()?;
        let kept = self.idle().pop();
        if let Some(mut link) = kept {
            match job(&mut link) {
                Ok(value) => return Ok(self.answered(link, value)),
                // The others are as old as this one.
                Err(error) if error.is_connection_dropped() => self.idle().clear(),
                Err(error) => return Err(self.broken(&error)),
            }
        }
        let mut link = self.open()?;
        match job(&mut link) {
            Ok(value) => Ok(self.answered(link, value)),
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// As [`Pool::call`], for what makes things better and may be left out: does not even try while Redis is
    /// known to be away, so that nobody waits for one timeout after another.
    pub(super) fn try_call<T>(&self, job: impl FnMut(&mut Link) -> RedisResult<T>) -> Option<T> {
        if self.rests() {
            return None;
        }
        self.call(job).inspect_err(|error| tracing::debug!(%error, "Redis was not told")).ok()
    }

    /// True while [`Pool::try_call`] does not even try.
    pub(super) fn rests(&self) -> bool {
        self.outage().as_ref().is_some_and(|outage| outage.last.elapsed() < REST)
    }

    /// Says for how long Redis has not answered, and why.
    pub(super) fn unreachable(&self) -> Option<String> {
        let outage = self.outage();
        let outage = outage.as_ref()?;
        let seconds = outage.since.elapsed().as_secs_f64();
        Some(format!("Redis cannot be reached, for {seconds:.1} s now: {}", outage.why))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Link>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outage(&self) -> MutexGuard<'_, Option<Outage>> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_process(&self) -> Result<()> {
        if self.process == std::process::id() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Forked,
            "this connection to Redis was made before a fork, by the parent process",
        )
        .with_hint("connect after the fork"))
    }

    fn answered<T>(&self, link: Link, value: T) -> T {
        let mut idle = self.idle();
        if idle.len() < IDLE_MAX {
            idle.push(link);
        }
        drop(idle);
        if self.outage().take().is_some() {
            tracing::info!(redis = self.place(), "Redis answers again");
        }
        value
    }

    fn open(&self) -> Result<Link> {
        let connected = Client::open(self.target.info.clone())
            .and_then(|client| client.get_connection_with_timeout(self.connect_timeout));
        let mut connection = connected.map_err(|error| {
            if error.kind() == redis::ErrorKind::Server(ServerErrorKind::ResponseError) && !is_full(&error) {
                return Error::invalid(format!("Redis at `{}`: {}", self.place(), self.clean(&error)))
                    .with_hint("the database of the URL is a number that this Redis knows, mostly 0 to 15");
            }
            self.failed(&error)
        })?;
        let timeout = Some(self.command_timeout);
        let mut asked = || -> RedisResult<(String, String)> {
            connection.set_read_timeout(timeout)?;
            connection.set_write_timeout(timeout)?;
            let server: String = redis::cmd("INFO").arg("server").query(&mut connection)?;
            let memory: String = redis::cmd("INFO").arg("memory").query(&mut connection)?;
            Ok((server, memory))
        };
        let (server, memory) = asked().map_err(|error| self.failed(&error))?;
        self.check_server(&server, &memory)?;
        // `check_server` has seen that there is one.
        let run = field(&server, "run_id").to_owned();
        Ok(Link { connection, run })
    }

    fn check_server(&self, server: &str, memory: &str) -> Result<()> {
        let unfit = |what: String, hint: &str| {
            Err(Error::new(ErrorKind::Unsupported, format!("Redis at `{}` {what}", self.place()))
                .with_hint(hint))
        };
        if field(server, "run_id").is_empty() {
            return unfit(
                "does not say which start of it this is (`run_id` of INFO)".to_owned(),
                "connect to Redis itself, not to something that only speaks its language",
            );
        }
        let version = field(server, "redis_version");
        let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
        if major < VERSION_MIN {
            return unfit(
                format!("has version `{}`", escape(version.as_bytes())),
                "Redis 7 or later is needed, or Valkey",
            );
        }
        // What is evicted would be granted a second time.
        let policy = field(memory, "maxmemory_policy");
        if !matches!(field(memory, "maxmemory"), "" | "0") && !matches!(policy, "" | "noeviction") {
            return unfit(
                format!("may evict keys (maxmemory-policy `{}`)", escape(policy.as_bytes())),
                "set `maxmemory-policy noeviction`, or use a Redis of its own",
            );
        }
        Ok(())
    }

    /// Takes in a failure on a connection. Where it got no answer the idle ones would get none either, each for
    /// the price of a timeout.
    fn broken(&self, error: &RedisError) -> Error {
        if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() {
            self.idle().clear();
        }
        self.failed(error)
    }

    /// Takes in a failure and says it in our words.
    fn failed(&self, error: &RedisError) -> Error {
        let told = self.translate(error);
        if told.kind() == ErrorKind::Unavailable {
            let (now, why) = (Instant::now(), self.clean(error));
            let mut outage = self.outage();
            if let Some(outage) = outage.as_mut() {
                (outage.last, outage.why) = (now, why);
            } else {
                tracing::warn!(redis = self.place(), %why, "Redis does not answer");
                *outage = Some(Outage { since: now, last: now, why });
            }
        }
        told
    }

    fn translate(&self, error: &RedisError) -> Error {
        use redis::ErrorKind as Kind;
        use redis::ServerErrorKind as Server;
        let (place, why) = (self.place(), self.clean(error));
        let is_code = |codes: &[&str]| error.code().is_some_and(|code| codes.contains(&code));
        match error.kind() {
            Kind::AuthenticationFailed | Kind::Server(Server::NoPerm) => self.denied(&why),
            _ if is_code(&["NOAUTH", "WRONGPASS", "NOPERM"]) => self.denied(&why),
            // Of what a script may not do Redis has no code, and of being full neither.
            _ if is_denied_in_script(&error.to_string()) => self.denied(&why),
            _ if is_full(error) => self.not_serving(&why),
            Kind::Server(Server::Moved | Server::Ask | Server::CrossSlot | Server::ClusterDown) => {
                Error::new(ErrorKind::Unsupported, format!("Redis at `{place}` belongs to a cluster: {why}"))
                    .with_hint("use a single Redis, with replicas or without")
            }
            Kind::Io | Kind::Parse | Kind::InvalidClientConfig => {
                Error::new(ErrorKind::Unavailable, format!("Redis at `{place}` cannot be reached: {why}"))
                    .with_hint("is it running, and does the URL lead to it?")
            }
            Kind::Server(Server::BusyLoading | Server::MasterDown | Server::ReadOnly | Server::TryAgain) => {
                self.not_serving(&why)
            }
            _ if is_code(&["OOM", "MISCONF", "BUSY", "NOREPLICAS", "UNBLOCKED"]) => self.not_serving(&why),
            _ => Error::new(ErrorKind::Io, format!("Redis at `{place}` has refused: {why}"))
                .with_hint("do other programs write keys with this prefix?"),
        }
    }

    fn denied(&self, why: &str) -> Error {
        let message = format!("Redis at `{}` does not let us in: {why}", self.place());
        Error::new(ErrorKind::PermissionDenied, message)
            .with_hint("check user and password of the URL, and what the user may do")
    }

    fn not_serving(&self, why: &str) -> Error {
        let message = format!("Redis at `{}` does not serve at the moment: {why}", self.place());
        Error::new(ErrorKind::Unavailable, message)
    }

    /// What Redis or the system says, fit to be shown.
    fn clean(&self, error: &RedisError) -> String {
        let mut text = escape(error.to_string().as_bytes());
        for secret in &self.target.secrets {
            text = without(&text, secret);
        }
        if let Some((at, _)) = text.char_indices().nth(SHOWN_MAX) {
            text.truncate(at);
            text.push('…');
        }
        text
    }
}

/// A script may not do something, in the words of Redis before 7.2 and since.
fn is_denied_in_script(text: &str) -> bool {
    text.contains("The user executing the script") || text.contains("ACL failure in script")
}

/// The server has as many connections as it takes.
fn is_full(error: &RedisError) -> bool {
    error.to_string().contains("max number of clients")
}

/// A text without a secret. One that is shorter than four bytes counts only where it stands by itself: it is a part of
/// many a word, and hiding it there would tell it.
fn without(text: &str, secret: &str) -> String {
    let is_letter = |c: char| c.is_alphanumeric();
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(secret).filter(|_| !secret.is_empty()) {
        let stands_alone = !before.ends_with(is_letter) && !after.starts_with(is_letter);
        shown.push_str(before);
        shown.push_str(if secret.len() >= 4 || stands_alone { "***" } else { secret });
        rest = after;
    }
    shown + rest
}

/// The value of a line `name:value` in the answer to INFO; empty where there is none.
fn field<'i>(info: &'i str, name: &str) -> &'i str {
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_may_not_do_is_known_in_the_words_of_all_versions() {
        for text in [
            "ERR The user executing the script can't run this command or subcommand script: 1, on @user_script:2.",
            "ERR ACL failure in script: User fleet has no permissions to run the 'time' command script: 1",
        ] {
            assert!(is_denied_in_script(text), "{text}");
        }
        assert!(!is_denied_in_script("WRONGTYPE Operation against a key holding the wrong kind of value"));
    }

    #[test]
    fn short_secrets_garble_no_words() {
        for (text, secret, shown) in [
            ("a command: a", "a", "*** command: ***"),
            ("user hush: hushed", "hush", "user ***: ***ed"),
            ("nothing", "secret", "nothing"),
            ("as it is", "", "as it is"),
            ("x", "x", "***"),
        ] {
            assert_eq!(without(text, secret), shown, "{secret} in {text}");
        }
    }

    #[test]
    fn urls_are_judged_without_being_quoted() {
        for (url, kind) in [
            ("", ErrorKind::InvalidArgument),
            ("redis://", ErrorKind::InvalidArgument),
            ("http://u:s3cret@host", ErrorKind::InvalidArgument),
            ("redis://u:s3cret@host/x", ErrorKind::InvalidArgument),
            ("redis://u:s3cret@host:99999", ErrorKind::InvalidArgument),
            ("redis://u:s3cret@host/?protocol=s3cret", ErrorKind::InvalidArgument),
            ("rediss://u:s3cret@host", ErrorKind::Unsupported),
        ] {
            let error = Target::parse(url).err().unwrap();
            assert_eq!(error.kind(), kind, "{url}");
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{url}");
        }
        let target = Target::parse("redis://user:s3cret@host:1/2").unwrap();
        assert_eq!(target.place, "host:1");
        assert_eq!(target.secrets, ["s3cret", "user"]);
        assert_eq!(Target::parse("unix:///run/redis.sock?pass=s3cret").unwrap().place, "/run/redis.sock");
    }

    #[test]
    fn the_answer_to_info_is_read() {
        let info = "# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\nrun_id_2:d\r\n";
        assert_eq!(field(info, "run_id"), "abc");
        assert_eq!(field(info, "redis_version"), "7.0.15");
        assert_eq!(field(info, "uptime"), "");
    }
}
