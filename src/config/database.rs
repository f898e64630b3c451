//! Where the ledger and the store of keys are: the keys `database` and `spill`.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use tokio_postgres::config::{Host, SslMode};

use crate::secret::Secret;

/// What the key `database` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseConfig {
    /// There is one.
    In(Database),
    /// There is none: usage is not recorded.
    Off,
}

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// In a file, by SQLite.
    Sqlite(PathBuf),
    /// With a PostgreSQL server.
    Postgres {
        /// Its URL, in which there may be a password.
        url: Secret,
        /// The file for rows that the server does not take.
        spill: PathBuf,
    },
}

impl Database {
    /// The file of SQLite's, where it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres { .. } => None,
        }
    }

    /// Where rows go that the database does not take: `pointsman.db.spill` for `pointsman.db`.
    #[must_use]
    pub fn spill(&self) -> PathBuf {
        match self {
            Self::Sqlite(path) => {
                let mut name = path.clone().into_os_string();
                name.push(".spill");
                name.into()
            }
            Self::Postgres { spill, .. } => spill.clone(),
        }
    }
}

/// Names it to people: without a password.
impl fmt::Display for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(formatter, "{}", path.display()),
            Self::Postgres { url, .. } => match PostgresUrl::parse(url.expose()) {
                Ok(location) => write!(formatter, "{location}"),
                Err(_) => formatter.write_str("postgres"),
            },
        }
    }
}

/// A URL of a PostgreSQL server, taken apart.
#[derive(Debug, Clone)]
pub struct PostgresUrl {
    /// Whom to connect to, and as whom.
    pub server: tokio_postgres::Config,
    /// Authorities of the server's certificate in place of the system's.
    pub root_certificate: Option<PathBuf>,
}

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long sent bytes may be without an answer of the other machine.
const UNANSWERED_MAX: Duration = Duration::from_secs(10);

impl PostgresUrl {
    /// Whether a text is meant to be one, by its beginning.
    #[must_use]
    pub fn is_meant_by(text: &str) -> bool {
        text.starts_with("postgres://") || text.starts_with("postgresql://")
    }

    /// Reads `postgres://user:password@host:5432/database?sslmode=require&sslrootcert=ca.pem`.
    ///
    /// # Errors
    /// Why it is none. Nothing of it is repeated.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut others, mut mode, mut root_certificate) = (Vec::new(), None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(ssl_mode(value)?),
                Some(("sslrootcert", file)) => {
                    let file = percent_encoding::percent_decode_str(file).decode_utf8_lossy();
                    root_certificate = Some(PathBuf::from(file.into_owned()));
                }
                _ => others.push(pair),
            }
        }
        let rest = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
        // What is wrong there may be a part of the password.
        let mut server = tokio_postgres::Config::from_str(&rest).map_err(|_| {
            "its host, its port or an option cannot be read; in names and passwords, @ is %40, / is %2F, ? is %3F and % is %25".to_owned()
        })?;
        if server.get_hosts().is_empty() {
            return Err("it names no host".to_owned());
        }
        let is_here = server.get_hosts().iter().all(is_local);
        server.ssl_mode(mode.unwrap_or(if is_here { SslMode::Disable } else { SslMode::Prefer }));
        if server.get_application_name().is_none() {
            server.application_name("pointsman");
        }
        if server.get_connect_timeout().is_none() {
            server.connect_timeout(CONNECT_TIMEOUT);
        }
        server.tcp_user_timeout(UNANSWERED_MAX);
        Ok(Self { server, root_certificate })
    }
}

/// A certificate is always checked where there is TLS: `require` is as strict as `verify-full`.
fn ssl_mode(name: &str) -> Result<SslMode, String> {
    match name {
        "disable" => Ok(SslMode::Disable),
        "allow" | "prefer" => Ok(SslMode::Prefer),
        "require" | "verify-ca" | "verify-full" => Ok(SslMode::Require),
        _ => Err("sslmode is disable, prefer, require or verify-full".to_owned()),
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        }
        Host::Unix(_) => true,
    }
}

/// What an error says, and what is beneath it.
#[must_use]
pub fn explained(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(beneath) = cause {
        let beneath_text = beneath.to_string();
        if !text.contains(&beneath_text) {
            text = format!("{text}: {beneath_text}");
        }
        cause = beneath.source();
    }
    text
}

/// `postgres://user@host:port/database`.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("postgres://")?;
        if let Some(user) = self.server.get_user() {
            write!(formatter, "{user}@")?;
        }
        match self.server.get_hosts().first() {
            Some(Host::Tcp(host)) => formatter.write_str(host)?,
            Some(Host::Unix(folder)) => write!(formatter, "{}", folder.display())?,
            None => {}
        }
        if let Some(port) = self.server.get_ports().first() {
            write!(formatter, ":{port}")?;
        }
        write!(formatter, "/{}", self.server.get_dbname().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_shown_without_its_password() {
        let url = "postgres://me:s3cret@db.example:6000/usage?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem&options=-c%20search_path%3Dp";
        let parsed = PostgresUrl::parse(url).unwrap();
        assert_eq!(parsed.to_string(), "postgres://me@db.example:6000/usage");
        assert_eq!(parsed.root_certificate.as_deref(), Some(Path::new("/etc/ca.pem")));
        assert_eq!(
            (parsed.server.get_ssl_mode(), parsed.server.get_options()),
            (SslMode::Require, Some("-c search_path=p"))
        );
        let database = Database::Postgres { url: Secret::new(url), spill: "s".into() };
        assert!(!format!("{database} {database:?}").contains("s3cret"));
        for (url, mode) in [
            ("postgres://me@127.0.0.1/x", SslMode::Disable),
            ("postgresql://me@%2Frun%2Fpostgresql/x", SslMode::Disable),
            ("postgres://me@db.example/x", SslMode::Prefer),
            ("postgres://me@localhost/x?sslmode=require", SslMode::Require),
        ] {
            assert_eq!(PostgresUrl::parse(url).unwrap().server.get_ssl_mode(), mode, "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_told_without_it() {
        for url in [
            "postgres://",
            "postgres://me:s3cret@host/x?sslmode=no",
            "postgres://me:s3cret@host:port/x",
            "postgres://me:s3cret@host/x?s3cret=1",
            "postgres://me:s3cret@host/x?connect_timeout=s3cret",
        ] {
            let why = PostgresUrl::parse(url).unwrap_err();
            assert!(!why.is_empty() && !why.contains("s3cret"), "{url}: {why}");
        }
    }
}
