//! One connection to Redis, and what is asked of a server before it is used.

use std::sync::Arc;

use futures_util::FutureExt;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, ServerErrorKind,
    Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use rustls::{ClientConfig, pki_types::ServerName};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::{COMMAND_MAX, KEEPALIVE, LinkError, Live, State};
use crate::{
    config::{RedisUrl, UpstreamTls},
    upstream::tls,
};

/// Commands that may wait for a place on the connection's way out; whoever comes later waits before that, as long as for an answer.
const WAITING_MAX: usize = 1024;

/// A connection for commands, single or many at once. It tells its link when it is of no use any more.
#[derive(Clone)]
pub struct Connection {
    inner: MultiplexedConnection,
    generation: u64,
    state: Arc<State>,
}

/// Whether a command failed because of its connection, so that another command would, too: it broke, it was silent, or it leads to a
/// server where nothing can be written. What a server or a script has against one command is no such error.
#[must_use]
pub fn is_lost_by(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Io | ErrorKind::Parse | ErrorKind::AuthenticationFailed => true,
        ErrorKind::Server(kind) => is_of_no_use(kind),
        _ => false,
    }
}

/// A server that has become a replica, or is not ready yet.
fn is_of_no_use(kind: ServerErrorKind) -> bool {
    matches!(kind, ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown | ServerErrorKind::ReadOnly)
}

impl Connection {
    /// Notes a round trip, and what came of it.
    fn booked<T>(&self, result: RedisResult<T>, values: impl Fn(&T) -> &[Value]) -> RedisResult<T> {
        self.state.metrics.redis.commands.inc();
        let refuses = |value: &Value| matches!(value, Value::ServerError(error) if error.kind().is_some_and(is_of_no_use));
        let is_lost = match &result {
            Ok(answers) => values(answers).iter().any(refuses),
            Err(error) => is_lost_by(error),
        };
        if is_lost {
            self.state.failed(self.generation);
        }
        result
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        async move {
            let answer = self.inner.send_packed_command(command).await;
            self.booked(answer, std::slice::from_ref)
        }
        .boxed()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        async move {
            let answers = self.inner.send_packed_commands(commands, offset, count).await;
            self.booked(answers, Vec::as_slice)
        }
        .boxed()
    }

    fn get_db(&self) -> i64 {
        self.inner.get_db()
    }
}

/// A new connection.
pub(super) struct Made {
    pub(super) live: Live,
    /// Moves its bytes; the connection ends with it.
    pub(super) driver: AbortOnDropHandle<()>,
}

/// Where to connect.
pub(super) struct Server {
    pub(super) url: RedisUrl,
    /// Made with the first connection that is tried.
    tls: Option<TlsConnector>,
}

impl Server {
    pub(super) fn new(url: RedisUrl) -> Self {
        Self { url, tls: None }
    }

    /// A connection to a server that can be used.
    pub(super) async fn connect(&mut self, generation: u64, state: &Arc<State>) -> Result<Made, LinkError> {
        let tls = if self.url.has_tls { Some(self.tls().await?) } else { None };
        let socket = TcpStream::connect((self.url.host.as_str(), self.url.port)).await?;
        socket.set_nodelay(true)?;
        SockRef::from(&socket)
            .set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))?;
        let (inner, driver) = match tls {
            None => self.greet(socket).await?,
            Some(connector) => {
                let name = ServerName::try_from(self.url.host.clone()).map_err(std::io::Error::other)?;
                self.greet(connector.connect(name, socket).await?).await?
            }
        };
        let mut connection = Connection { inner, generation, state: Arc::clone(state) };
        let about = ask(&mut connection).await?;
        let run_id = usable(&about)?.into();
        Ok(Made { live: Live { connection, run_id, generation }, driver })
    }

    async fn tls(&mut self) -> Result<TlsConnector, LinkError> {
        if let Some(connector) = &self.tls {
            return Ok(connector.clone());
        }
        let trust = UpstreamTls { ca_file: self.url.root_certificate.clone(), client: None };
        // The system's authorities are many files.
        let made = TaskTracker::new().spawn_blocking(move || tls::client_config(&trust)).await;
        let config: ClientConfig = made.map_err(std::io::Error::other)??;
        Ok(self.tls.insert(TlsConnector::from(Arc::new(config))).clone())
    }

    async fn greet<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
    ) -> RedisResult<(MultiplexedConnection, AbortOnDropHandle<()>)> {
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(COMMAND_MAX))
            .set_pipeline_buffer_size(WAITING_MAX);
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&self.url.login, stream, config).await?;
        Ok((connection, AbortOnDropHandle::new(TaskTracker::new().spawn(driver))))
    }
}

/// What a server tells of itself.
async fn ask(connection: &mut Connection) -> RedisResult<String> {
    let mut about = redis::pipe();
    for section in ["server", "replication", "persistence"] {
        about.cmd("INFO").arg(section);
    }
    let told: Vec<String> = about.query_async(connection).await?;
    Ok(told.concat())
}

/// The id of a server's process, where it can be used.
fn usable(about: &str) -> Result<&str, LinkError> {
    let says =
        |name: &str| about.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    match (says("redis_mode"), says("role"), says("loading")) {
        (Some("cluster"), ..) => Err(LinkError::Cluster),
        (_, Some("slave"), _) => Err(LinkError::Replica),
        (_, _, Some("1")) => Err(LinkError::Loading),
        _ => says("run_id").filter(|id| !id.is_empty()).ok_or(LinkError::Strange),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_can_be_written_to_is_used() {
        let about = |mode: &str, role: &str, loading: u8| {
            format!(
                "# Server\r\nredis_mode:{mode}\r\nrun_id:4a2b\r\n# Replication\r\nrole:{role}\r\nloading:{loading}\r\n"
            )
        };
        assert_eq!(usable(&about("standalone", "master", 0)).unwrap(), "4a2b");
        for (text, why) in [
            (about("cluster", "master", 0), "cluster"),
            (about("standalone", "slave", 0), "replica"),
            (about("standalone", "master", 1), "reading"),
            ("run_id:\r\n".to_owned(), "who it is"),
            (String::new(), "who it is"),
        ] {
            let error = usable(&text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
