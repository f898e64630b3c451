//! `cargo bench --bench load`: the gateway beside nginx, in one run, over loopback. See `../README.md`.
//!
//! One process holds the clients and the upstream, so that what a proxy costs is measured at the proxy alone.

mod client;
mod processes;
#[path = "../prompts.rs"]
mod prompts;
mod report;
mod upstream;
#[path = "../wire.rs"]
mod wire;

use std::{
    io::IsTerminal,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use tokio::{
    signal::{
        ctrl_c,
        unix::{SignalKind, signal},
    },
    time::timeout,
};

use self::{
    client::Load,
    processes::{Gateway, Nginx, cpu_time},
    report::{Figures, Report, Row},
};

/// Why there are no figures.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Longest that one load may take.
const LOAD_MAX: Duration = Duration::from_secs(120);

/// Tokens of a prompt.
const PROMPT_TOKENS: usize = 64;

/// Measure the gateway beside nginx: requests per second, CPU time per request, latency
///
/// Clients, upstream and proxy run on this machine and share its cores; compare figures of one run only.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench load --", max_term_width = 100)]
struct Arguments {
    /// Requests for whole answers, in each round
    #[arg(long, default_value_t = 20_000, value_name = "COUNT")]
    requests: usize,

    /// Requests for streamed answers, in each round
    #[arg(long, default_value_t = 2_000, value_name = "COUNT")]
    streams: usize,

    /// Requests for streamed answers whose events come one by one, in each round, by four times as many clients
    #[arg(long, default_value_t = 192, value_name = "COUNT")]
    paced: usize,

    /// Events of a streamed answer
    #[arg(long, default_value_t = 200, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(4..))]
    events: u32,

    /// Clients, each with one connection and one request at a time
    #[arg(long, default_value_t = 8, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,

    /// Rounds, of which each figure is the median
    #[arg(long, default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,

    /// Threads that serve in the gateway; nginx has one worker
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,

    /// The gateway to measure; without it, the one that Cargo has built with this benchmark
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,

    /// How the figures are written to stdout
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Only see that everything works: a few requests, no figures worth keeping
    #[arg(long)]
    test: bool,

    /// Cargo passes it
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table, for people.
    Text,
    /// For programs.
    Json,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if arguments.test {
        (arguments.requests, arguments.streams, arguments.paced, arguments.rounds) = (200, 20, 10, 1);
    }
    match run(&arguments) {
        Ok(report) => {
            match arguments.format {
                Format::Text => print!("{report}"),
                Format::Json => println!("{:#}", report.to_json()),
            }
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Measures until the end, or until SIGTERM or Ctrl-C; either way no process and no file is left behind.
fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let directory = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            report = measure_all(directory.path(), arguments) => report,
            _ = terminate.recv() => Err("stopped".into()),
            pressed = ctrl_c() => pressed.map_err(Failure::from).and(Err("stopped".into())),
        }
    })
}

async fn measure_all(directory: &Path, arguments: &Arguments) -> Result<Report, Failure> {
    let upstream = upstream::start(arguments.events as usize).await?;
    let nginx = Nginx::start(directory, upstream).await?;
    let gateway = Gateway::start(directory, upstream, arguments).await?;
    let sides = [
        Some(Side { name: "no proxy", model: "fixed", process: None, at: [upstream; 2] }),
        nginx.as_ref().map(|nginx| Side {
            name: "nginx",
            model: "fixed",
            process: Some(nginx.pid()),
            at: nginx.at,
        }),
        Some(gateway.side("gateway, static route", "fixed")),
        Some(gateway.side("gateway, mf route", "auto")),
    ];
    let sides: Vec<Side> = sides.into_iter().flatten().collect();
    let mut report = Report::new(arguments, gateway.start_time());
    for workload in Workload::ALL {
        report.rows.extend(measure(workload, &sides, arguments).await?);
    }
    Ok(report)
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Workload {
    /// One JSON object.
    Whole,
    /// Server-sent events, all there at once.
    Streamed,
    /// Server-sent events, one every [`upstream::PACE`], as a model makes them.
    Paced,
}

impl Workload {
    const ALL: [Self; 3] = [Self::Whole, Self::Streamed, Self::Paced];
}

/// One way from the clients to the upstream.
struct Side {
    name: &'static str,
    /// The `model` that the requests name.
    model: &'static str,
    /// The proxy, whose CPU time is taken.
    process: Option<u32>,
    /// Where whole answers are asked for, and where streamed ones.
    at: [SocketAddr; 2],
}

/// All sides in turns, round by round, so that a slow moment of the machine does not fall on one of them alone.
async fn measure(workload: Workload, sides: &[Side], arguments: &Arguments) -> Result<Vec<Row>, Failure> {
    let mut rows: Vec<Row> = sides.iter().map(|side| Row::new(workload, side.name)).collect();
    for round in 1..=arguments.rounds {
        for (side, row) in sides.iter().zip(&mut rows) {
            show_progress(&format!("round {round} of {}: {}", arguments.rounds, side.name));
            let figures = measure_once(workload, side, arguments).await;
            row.rounds.push(figures.map_err(|failure| format!("{}: {failure}", side.name))?);
        }
    }
    show_progress("");
    Ok(rows)
}

/// One line that is written over, where somebody sees it.
fn show_progress(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r{text:<79}\r");
    }
}

async fn measure_once(workload: Workload, side: &Side, arguments: &Arguments) -> Result<Figures, Failure> {
    let streamed = workload != Workload::Whole;
    let connections = usize::from(arguments.connections);
    let (requests, connections) = match workload {
        Workload::Whole => (arguments.requests, connections),
        Workload::Streamed => (arguments.streams, connections),
        // Clients that mostly wait.
        Workload::Paced => (arguments.paced, 4 * connections),
    };
    let [whole_at, streamed_at] = side.at;
    let bodies: Arc<[Bytes]> = prompts::of_tokens(PROMPT_TOKENS)
        .iter()
        .map(|prompt| wire::chat_body(side.model, prompt, streamed))
        .map(|body| if workload == Workload::Paced { upstream::paced(&body) } else { body })
        .collect();
    let load = Load {
        at: if streamed { streamed_at } else { whole_at },
        bodies,
        connections,
        requests,
        ending: if streamed { upstream::STREAM_ENDING } else { upstream::WHOLE_ENDING },
    };
    // Connections, caches and branch predictors first.
    timeout(LOAD_MAX, Load { requests: requests.div_ceil(10), ..load.clone() }.run()).await??;
    let cpu_before = side.process.map(cpu_time).transpose()?;
    let started = Instant::now();
    let latencies = timeout(LOAD_MAX, load.run()).await??;
    let elapsed = started.elapsed();
    let cpu_after = side.process.map(cpu_time).transpose()?;
    let cpu = cpu_after.zip(cpu_before).map(|(after, before)| after.saturating_sub(before));
    Ok(Figures::new(latencies, elapsed, cpu))
}
