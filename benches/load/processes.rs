//! The proxies, each a process of its own, and the CPU time they take.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    net::TcpStream,
    sync::mpsc::channel,
    time::{sleep, timeout},
};

use crate::{Arguments, Failure, Side};

/// The key that the clients send.
pub(crate) const KEY: &str = "sk-load-0123456789abcdef";

/// Longest that a proxy may take to start.
const START_MAX: Duration = Duration::from_secs(30);

/// A process that ends with its value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended before; then there is nothing left to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// nginx with one worker, and nothing in its way: no access log, connections to the upstream kept.
pub(crate) struct Nginx {
    process: Process,
    /// A port with its usual buffering, and one that passes on at once what it reads.
    pub(crate) at: [SocketAddr; 2],
}

impl Nginx {
    /// Starts it in front of `upstream`; `None` where there is none and none can be installed.
    pub(crate) async fn start(directory: &Path, upstream: SocketAddr) -> Result<Option<Self>, Failure> {
        if !is_installed() {
            eprintln!("SKIPPED: nginx is not here and could not be installed; the gateway is measured alone");
            return Ok(None);
        }
        let at = [free_port()?, free_port()?];
        let file = directory.join("nginx.conf");
        fs::write(&file, nginx_config(directory, upstream, at))?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(directory).arg("-c").arg(&file).stdin(Stdio::null());
        let process = Process(command.spawn().map_err(|error| format!("nginx does not start: {error}"))?);
        let mut nginx = Self { process, at };
        nginx.wait_until_ready().await?;
        Ok(Some(nginx))
    }

    async fn wait_until_ready(&mut self) -> Result<(), Failure> {
        const PAUSE: Duration = Duration::from_millis(20);
        let [_, last] = self.at;
        for _ in 0..START_MAX.as_millis() / PAUSE.as_millis() {
            if TcpStream::connect(last).await.is_ok() {
                return Ok(());
            }
            if let Some(status) = self.process.0.try_wait()? {
                return Err(format!("nginx ended at its start: {status}").into());
            }
            sleep(PAUSE).await;
        }
        Err("nginx does not listen".into())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }
}

fn is_installed() -> bool {
    let runs = || {
        Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let apt_get = |arguments: &[&str]| {
        // In run level 1 a package does not start its service.
        let environment = [("DEBIAN_FRONTEND", "noninteractive"), ("RUNLEVEL", "1")];
        let mut command = Command::new("apt-get");
        command.args(arguments).envs(environment).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let install = || apt_get(&["install", "-y", "--no-install-recommends", "nginx-light"]);
    // Who may not install is told by apt-get itself.
    runs() || ((install() || (apt_get(&["update"]) && install())) && runs())
}

fn nginx_config(directory: &Path, upstream: SocketAddr, [buffered, unbuffered]: [SocketAddr; 2]) -> String {
    let directory = directory.display();
    let server = |listen: SocketAddr, buffering: &str| {
        format!(
            "  server {{\n    listen {listen};\n    location / {{\n      proxy_pass http://upstream;\n      \
             proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n      \
             proxy_buffering {buffering};\n    }}\n  }}\n"
        )
    };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {directory}/{kind};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\nworker_processes 1;\npid {directory}/nginx.pid;\n\
         error_log stderr error;\nevents {{ worker_connections 1024; }}\nhttp {{\n  access_log off;\n{temporary}  \
         keepalive_requests 1000000000;\n  upstream upstream {{\n    server {upstream};\n    keepalive 64;\n    \
         keepalive_requests 1000000000;\n  }}\n{}{}}}\n",
        server(buffered, "on"),
        server(unbuffered, "off"),
    )
}

/// The gateway as it is released.
pub(crate) struct Gateway {
    process: Process,
    at: SocketAddr,
    start_time: Duration,
}

impl Gateway {
    /// Starts it with a static route and one that `mf` decides, all models at `upstream`.
    pub(crate) async fn start(
        directory: &Path,
        upstream: SocketAddr,
        arguments: &Arguments,
    ) -> Result<Self, Failure> {
        let file = directory.join("pointsman.yaml");
        fs::write(&file, gateway_config(upstream))?;
        let built = Path::new(env!("CARGO_BIN_EXE_pointsman"));
        let mut command = Command::new(arguments.program.as_deref().unwrap_or(built));
        command.arg("serve").arg("--config").arg(&file);
        command.env("TOKIO_WORKER_THREADS", arguments.threads.to_string()).env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut process = Process(command.spawn()?);
        let log = process.0.stderr.take().ok_or("the gateway has no stderr")?;
        let at =
            timeout(START_MAX, listening_address(log)).await.map_err(|_| "the gateway does not listen")??;
        Ok(Self { process, at, start_time: started.elapsed() })
    }

    /// From the start of the process to its listening.
    pub(crate) fn start_time(&self) -> Duration {
        self.start_time
    }

    /// A way through it by a route.
    pub(crate) fn side(&self, name: &'static str, route: &'static str) -> Side {
        Side { name, model: route, process: Some(self.process.0.id()), at: [self.at; 2] }
    }
}

/// The address that the gateway's log names.
async fn listening_address(log: ChildStderr) -> Result<SocketAddr, Failure> {
    let (say, mut said) = channel(64);
    // Reads to the end, so that the gateway never waits for a reader of its log.
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            let _ = say.try_send(line);
        }
    });
    let mut before = Vec::new();
    while let Some(line) = said.recv().await {
        if let Some((_, address)) = line.split_once("listening on http://") {
            return Ok(address.trim().parse()?);
        }
        before.push(line);
    }
    Err(format!("the gateway ended at its start:\n{}", before.join("\n")).into())
}

fn gateway_config(upstream: SocketAddr) -> String {
    let model = |name: &str, rated_as: &str, input_usd: &str, output_usd: &str| {
        format!(
            "  {name}: {{ base_url: \"http://{upstream}/v1\", rated_as: {rated_as}, \
             price: {{ input: {input_usd}, output: {output_usd} }} }}\n"
        )
    };
    format!(
        "listen: 127.0.0.1:0\nmodels:\n{}{}{}routes:\n  auto: {{ router: mf, strong_share: 0.3 }}\n  \
         fixed: {{ models: [small, medium, large] }}\ntenants:\n  bench: {{ keys: [ {{ key: {KEY} }} ], \
         pool: [small, medium, large], default_route: auto }}\n",
        model("small", "mistral-7b-instruct-v0.2", "0.05", "0.25"),
        model("medium", "mixtral-8x7b-instruct-v0.1", "0.60", "0.60"),
        model("large", "gpt-4-1106-preview", "10.00", "30.00"),
    )
}

/// A port that was free a moment ago.
fn free_port() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Time that all threads of a process have had on a CPU, in user space and in the kernel.
///
/// `schedstat` gives nanoseconds, but a kernel may lack it; `stat` gives hundredths of a second.
pub(crate) fn cpu_time(process: u32) -> Result<Duration, Failure> {
    by_thread(process).or_else(|_| by_process(process))
}

fn by_thread(process: u32) -> Result<Duration, Failure> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        let on_cpu: u64 = text.split_whitespace().next().ok_or("schedstat is empty")?.parse()?;
        nanoseconds += on_cpu;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

fn by_process(process: u32) -> Result<Duration, Failure> {
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name of the program may hold anything, spaces and brackets too.
    let (_, fields) = text.rsplit_once(')').ok_or("stat names no program")?;
    let mut ticks = 0;
    for field in fields.split_whitespace().skip(11).take(2) {
        ticks += field.parse::<u64>()?;
    }
    Ok(Duration::from_millis(10 * ticks))
}
