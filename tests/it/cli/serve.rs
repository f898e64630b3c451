//! `serve`, as a process manager meets it.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::program;

const CONFIG: &str = "listen: 127.0.0.1:0
models: {a: {rated_as: gpt-4-0613}}
tenants: {t: {keys: [{key: '${CI_KEY}'}], pool: [a]}}
";

/// A running program; ends when dropped.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads lines until one has this in it, and gives what stands behind.
fn behind(lines: &mut impl BufRead, what: &str) -> String {
    let mut seen = String::new();
    loop {
        let mut line = String::new();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "never said {what:?}: {seen}");
        if let Some((_, rest)) = line.split_once(what) {
            return rest.trim_end().to_owned();
        }
        seen += &line;
    }
}

fn health(address: SocketAddr) -> String {
    ask(address, "GET /health/live")
}

fn ask(address: SocketAddr, what: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "{what} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Runs one of the system's own commands.
fn system(name: &str, arguments: &[&str]) {
    assert!(Command::new(name).args(arguments).status().unwrap().success(), "{name} {arguments:?}");
}

/// A configuration on a disk that takes its time: here a pipe that nobody has written to yet.
#[test]
fn a_reload_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    let file = file.to_str().unwrap();
    fs::write(file, CONFIG).unwrap();
    let mut command = program(&["serve", "--config", file]);
    command.env("TOKIO_WORKER_THREADS", "1").stderr(Stdio::piped());
    let mut serving = Serving(command.spawn().unwrap());
    let mut lines = BufReader::new(serving.0.stderr.take().unwrap());
    let address = behind(&mut lines, "listening on http://").parse().unwrap();
    assert!(health(address).starts_with("HTTP/1.1 200 "));

    fs::remove_file(Path::new(file)).unwrap();
    system("mkfifo", &[file]);
    system("kill", &["-HUP", &serving.0.id().to_string()]);
    // Returns once the gateway has opened it to read.
    let mut pipe = fs::OpenOptions::new().write(true).open(file).unwrap();
    assert!(health(address).starts_with("HTTP/1.1 200 "), "while the configuration is being read");
    pipe.write_all(CONFIG.as_bytes()).unwrap();
    drop(pipe);
    behind(&mut lines, "is in force");
}

/// Files settle before they are read; what is not valid changes nothing, until it is.
#[test]
fn a_changed_file_takes_force_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (file, key) = (folder.path().join("config.yaml"), folder.path().join("key"));
    let config = CONFIG.replace("'${CI_KEY}'", "'file:key'");
    fs::write(&file, &config).unwrap();
    fs::write(&key, "one").unwrap();
    let mut command = program(&["serve", "--config", file.to_str().unwrap()]);
    let mut serving = Serving(command.stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(serving.0.stderr.take().unwrap());
    behind(&mut lines, "listening on http://");
    fs::write(&key, "another").unwrap();
    assert_eq!(behind(&mut lines, "is in force, as version "), "2");
    fs::write(&file, "models: {").unwrap();
    behind(&mut lines, "the configuration in force is kept");
    fs::write(&file, config.replace("{a:", "{b:").replace("[a]", "[b]")).unwrap();
    assert_eq!(behind(&mut lines, "is in force, as version "), "3");
}

#[test]
fn an_operator_may_ask_for_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    let config = format!("admin_listen: 127.0.0.1:0\n{CONFIG}");
    fs::write(&file, &config).unwrap();
    let mut command = program(&["serve", "--config", file.to_str().unwrap()]);
    let mut serving = Serving(command.stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(serving.0.stderr.take().unwrap());
    let public: SocketAddr = behind(&mut lines, "listening on http://").parse().unwrap();
    let admin: SocketAddr = behind(&mut lines, "operators' listener on http://").parse().unwrap();

    let answer = ask(admin, "POST /admin/reload");
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains(r#"{"result":"ok","version":2}"#),
        "{answer}"
    );
    fs::write(&file, config.replace("rated_as", "rated_a")).unwrap();
    let answer = ask(admin, "POST /admin/reload");
    assert!(answer.starts_with("HTTP/1.1 422 ") && answer.contains("did you mean `rated_as`"), "{answer}");
    assert!(ask(admin, "GET /metrics").contains("pointsman_config_version 2\n"));
    assert!(ask(admin, "GET /admin/reload").starts_with("HTTP/1.1 405 "));
    assert!(!ask(public, "POST /admin/reload").starts_with("HTTP/1.1 200 "), "operators alone may");
}
