//! A PostgreSQL server of a test's own: on a port and in a folder of its own, gone when dropped.

use std::{
    env, fs,
    io::ErrorKind,
    net::TcpListener,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio_postgres::{NoTls, SimpleQueryMessage};

/// How long a server may take to start, beside other tests.
const START_MAX: Duration = Duration::from_secs(60);

/// Set by the test command, which installs the programs: then a test without them fails.
const REQUIRED: &str = "POINTSMAN_TEST_SERVERS";

/// A server, running or stopped.
pub(crate) struct Server {
    folder: TempDir,
    programs: PathBuf,
    user: Option<u32>,
    port: u16,
    running: Option<Child>,
}

impl Server {
    /// Starts one; none where its programs are not installed, and need not be.
    pub(crate) async fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(env::var_os(REQUIRED).is_none(), "PostgreSQL's programs are not installed");
            eprintln!("SKIPPED: PostgreSQL's programs (initdb, postgres) are not installed");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        // PostgreSQL does not run as root.
        let user = (fs::metadata(folder.path()).unwrap().uid() == 0).then(|| user("postgres"));
        if let Some(user) = user {
            chown(folder.path(), Some(user), None).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { folder, programs, user, port, running: None };
        let output = server
            .command("initdb")
            .args(["-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"])
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        server.resume().await;
        Some(server)
    }

    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = match self.user {
            None => Command::new(program),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.arg(format!("--reuid={user}")).args(["--clear-groups", "--"]).arg(program);
                command
            }
        };
        command.current_dir(self.folder.path()).arg("-D").arg(self.folder.path().join("data"));
        command
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts it again, with all that was written.
    pub(crate) async fn resume(&mut self) {
        let port = self.port.to_string();
        let mut command = self.command("postgres");
        command.args(["-p", &port, "-k", "", "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        self.running = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        let begun = Instant::now();
        while tokio_postgres::connect(&self.url(), NoTls).await.is_err() {
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(begun.elapsed() < START_MAX, "PostgreSQL does not start: {}", log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Stops it at once, as if its machine were gone: open connections break.
    pub(crate) fn stop(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        let _ = Command::new("kill").args(["-QUIT", &running.id().to_string()]).status();
        let _ = running.wait();
    }

    /// Has it stand still, with all its processes: connections stay open, and nothing is answered.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    /// Has it go on after [`Server::pause`].
    pub(crate) fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        let main = self.running.as_ref().unwrap().id();
        let all = Command::new("ps").args(["-o", "pid=", "--ppid", &main.to_string()]).output().unwrap();
        let children = String::from_utf8(all.stdout).unwrap();
        // First the one that begins others.
        let main = main.to_string();
        for process in std::iter::once(main.as_str()).chain(children.split_whitespace()) {
            let _ = Command::new("kill").args([name, process]).status();
        }
    }

    /// The first column of what a query finds.
    pub(crate) async fn texts(&self, query: &str) -> Vec<String> {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await.unwrap();
        let mut running = tokio::task::JoinSet::new();
        running.spawn(connection);
        let found = client.simple_query(query).await.unwrap();
        let rows = found.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        });
        rows.collect()
    }

    /// The whole number that a query finds.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        self.texts(query).await[0].parse().unwrap_or(0)
    }

    /// Waits until a query finds this number.
    pub(crate) async fn until(&self, query: &str, wanted: i64, at_most: Duration) {
        let begun = Instant::now();
        loop {
            let found = self.number(query).await;
            if found == wanted {
                return;
            }
            assert!(begun.elapsed() < at_most, "{query}: {found}, not {wanted}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The folder of initdb and postgres: Debian does not have it in the path.
fn programs() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let versions = match fs::read_dir("/usr/lib/postgresql") {
        Ok(versions) => versions.map(|version| version.unwrap().path().join("bin")).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => panic!("{error}"),
    };
    let has_both = |folder: &PathBuf| ["initdb", "postgres"].iter().all(|name| folder.join(name).exists());
    versions.into_iter().chain(env::split_paths(&path)).find(has_both)
}

fn user(name: &str) -> u32 {
    let accounts = fs::read_to_string(Path::new("/etc/passwd")).unwrap();
    let line = accounts.lines().find(|line| line.starts_with(&format!("{name}:")));
    line.and_then(|line| line.split(':').nth(2)?.parse().ok()).expect("an account for PostgreSQL")
}
