//! A Redis server of a test's own: on a port and in a folder of its own, gone when dropped. It writes nothing to the disk.

use std::{
    env, fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use redis::{Client, ConnectionAddr, FromRedisValue, IntoConnectionInfo, RedisConnectionInfo, RedisResult};
use tempfile::TempDir;

/// How long a server may take to start, beside other tests.
const START_MAX: Duration = Duration::from_secs(60);

/// Set by the test command, which installs the program: then a test without it fails.
const REQUIRED: &str = "POINTSMAN_TEST_SERVERS";

/// A server, running or stopped.
pub(crate) struct Server {
    folder: TempDir,
    program: PathBuf,
    arguments: Vec<String>,
    password: Option<String>,
    port: u16,
    running: Option<Child>,
    /// Commands of the test's own, since it was started.
    own: AtomicU64,
}

impl Server {
    /// Starts one; none where its program is not installed, and need not be.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(None, &[]).await
    }

    /// Starts one that asks for a password, or has arguments of the test's own.
    pub(crate) async fn start_with(password: Option<&str>, arguments: &[&str]) -> Option<Self> {
        let Some(program) = program() else {
            assert!(env::var_os(REQUIRED).is_none(), "Redis is not installed");
            eprintln!("SKIPPED: Redis (redis-server or valkey-server) is not installed");
            return None;
        };
        let mut server = Self {
            folder: tempfile::tempdir().unwrap(),
            program,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            password: password.map(str::to_owned),
            port: TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(),
            running: None,
            own: AtomicU64::new(0),
        };
        server.resume().await;
        Some(server)
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        let login = self.password.as_ref().map(|password| format!(":{password}@"));
        format!("redis://{}127.0.0.1:{}/0", login.unwrap_or_default(), self.port)
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Starts it again, with nothing in it.
    pub(crate) async fn resume(&mut self) {
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new(&self.program);
        command
            .current_dir(self.folder.path())
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .args(self.password.iter().flat_map(|password| ["--requirepass", password]))
            .args(&self.arguments);
        self.running = Some(command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null()).spawn().unwrap());
        self.own.store(0, Ordering::Relaxed);
        let begun = Instant::now();
        while self.try_ask::<String>(&["PING"]).await.is_err() {
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(begun.elapsed() < START_MAX, "Redis does not start: {}", log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops it at once, as if its machine were gone: all that was in it is lost.
    pub(crate) fn stop(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        let _ = running.kill();
        let _ = running.wait();
    }

    /// Has it stand still: connections stay open, and nothing is answered.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    /// Has it go on after [`Server::pause`].
    pub(crate) fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        let id = self.running.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// What it replies to a command, on a connection of its own.
    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        self.try_ask(command).await.unwrap()
    }

    async fn try_ask<T: FromRedisValue>(&self, command: &[&str]) -> RedisResult<T> {
        let (name, arguments) = command.split_first().unwrap();
        // No other command comes with it than the password's.
        let login = RedisConnectionInfo::default().set_skip_set_lib_name();
        let login = self.password.iter().fold(login, |login, password| login.set_password(password));
        let address = ConnectionAddr::Tcp("127.0.0.1".to_owned(), self.port).into_connection_info()?;
        let client = Client::open(address.set_redis_settings(login))?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        self.own.fetch_add(1 + u64::from(self.password.is_some()), Ordering::Relaxed);
        redis::cmd(name).arg(arguments).query_async(&mut connection).await
    }

    /// The commands that it has got from others than the test since it was started.
    pub(crate) async fn commands_processed(&self) -> u64 {
        let own = self.own.load(Ordering::Relaxed);
        let stats: String = self.ask(&["INFO", "stats"]).await;
        let line = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:")).unwrap();
        // It counts a command once it is done.
        line.trim().parse::<u64>().unwrap() - own - u64::from(self.password.is_some())
    }

    /// Forgets all that is in it.
    pub(crate) async fn flush(&self) {
        self.ask::<()>(&["FLUSHALL"]).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Debian has them in the path of every user.
fn program() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let names = ["redis-server", "valkey-server"];
    names.iter().find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|file| file.exists()))
}

#[tokio::test]
async fn the_server_of_these_tests_does_as_it_is_told() {
    let Some(mut server) = Server::start().await else { return };
    server.ask::<()>(&["SET", "a", "1"]).await;
    assert_eq!((server.ask::<i64>(&["GET", "a"]).await, server.commands_processed().await), (1, 0));
    server.flush().await;
    assert_eq!(server.ask::<i64>(&["DBSIZE"]).await, 0);
    server.ask::<()>(&["SET", "a", "1"]).await;
    server.stop();
    assert!(server.try_ask::<String>(&["PING"]).await.is_err());
    server.resume().await;
    assert_eq!(server.ask::<i64>(&["DBSIZE"]).await, 0, "all is lost");
    server.pause();
    assert!(server.try_ask::<String>(&["PING"]).await.unwrap_err().is_timeout());
    server.go_on();
    assert_eq!(server.ask::<String>(&["PING"]).await, "PONG");
    let locked = Server::start_with(Some("s3cret"), &["--maxmemory", "3mb"]).await.unwrap();
    assert_eq!(
        (locked.ask::<String>(&["PING"]).await, locked.commands_processed().await),
        ("PONG".to_owned(), 0)
    );
    assert_eq!(locked.ask::<Vec<String>>(&["CONFIG", "GET", "maxmemory"]).await[1], "3145728");
    assert!(
        locked.url().starts_with("redis://:s3cret@127.0.0.1:")
            && locked.url().contains(&locked.port().to_string())
    );
}
