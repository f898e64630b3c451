//! The figures of a run, as a table and as JSON.

use std::{fmt, time::Duration};

use serde_json::{Value, json};

use crate::{Arguments, Workload, upstream::PACE};

/// What one round gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) requests_per_second: f64,
    /// User and kernel time of the proxy, per request; none without a proxy.
    pub(crate) cpu_us: Option<f64>,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

impl Figures {
    /// The figures of requests that took `latencies`, all of them `elapsed`, and the proxy `cpu`.
    pub(crate) fn new(mut latencies: Vec<Duration>, elapsed: Duration, cpu: Option<Duration>) -> Self {
        latencies.sort_unstable();
        #[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
        let requests = latencies.len() as f64;
        // The smallest latency that this share of the requests does not exceed.
        let quantile = |per_cent: usize| {
            let place = (latencies.len() * per_cent).div_ceil(100).saturating_sub(1);
            latencies.get(place).map_or(0.0, micros)
        };
        Self {
            requests_per_second: requests / elapsed.as_secs_f64(),
            cpu_us: cpu.map(|cpu| micros(&cpu) / requests),
            p50_us: quantile(50),
            p99_us: quantile(99),
        }
    }
}

fn micros(duration: &Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// One way to the upstream under one workload.
#[derive(Debug)]
pub(crate) struct Row {
    workload: Workload,
    side: &'static str,
    pub(crate) rounds: Vec<Figures>,
}

impl Row {
    pub(crate) fn new(workload: Workload, side: &'static str) -> Self {
        Self { workload, side, rounds: Vec::new() }
    }

    /// The median over the rounds of each figure by itself.
    fn median(&self) -> Figures {
        let of =
            |figure: fn(&Figures) -> Option<f64>| median(self.rounds.iter().filter_map(figure).collect());
        Figures {
            requests_per_second: of(|round| Some(round.requests_per_second)).unwrap_or(0.0),
            cpu_us: of(|round| round.cpu_us),
            p50_us: of(|round| Some(round.p50_us)).unwrap_or(0.0),
            p99_us: of(|round| Some(round.p99_us)).unwrap_or(0.0),
        }
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some(f64::midpoint(*low, *high))
}

/// Everything that a run gave.
#[derive(Debug)]
pub(crate) struct Report {
    setup: Value,
    pub(crate) rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new(arguments: &Arguments, gateway_start: Duration) -> Self {
        let Arguments { requests, streams, paced, events, connections, rounds, threads, .. } = arguments;
        let cpus = std::thread::available_parallelism().map_or(0, usize::from);
        let setup = json!({
            "requests": requests, "streams": streams, "paced": paced, "events": events, "connections": connections,
            "rounds": rounds, "gateway_threads": threads, "nginx_workers": 1, "cpus": cpus,
            "gateway_start_ms": gateway_start.as_millis(),
        });
        Self { setup, rows: Vec::new() }
    }

    /// What `row` is compared with.
    fn nginx(&self, row: &Row) -> Option<Figures> {
        self.rows
            .iter()
            .find(|other| other.workload == row.workload && other.side == "nginx")
            .map(Row::median)
    }

    pub(crate) fn to_json(&self) -> Value {
        let figures = |figures: &Figures| {
            json!({
                "requests_per_second": figures.requests_per_second, "cpu_us_per_request": figures.cpu_us,
                "p50_us": figures.p50_us, "p99_us": figures.p99_us,
            })
        };
        let row = |row: &Row| {
            let median = row.median();
            let ratios = self.nginx(row).map(|nginx| {
                json!({
                    "requests_per_second": median.requests_per_second / nginx.requests_per_second,
                    "cpu_us_per_request": median.cpu_us.zip(nginx.cpu_us).map(|(own, nginx)| own / nginx),
                    "p50_us": median.p50_us / nginx.p50_us, "p99_us": median.p99_us / nginx.p99_us,
                })
            });
            let workload = match row.workload {
                Workload::Whole => "whole",
                Workload::Streamed => "streamed",
                Workload::Paced => "paced",
            };
            json!({
                "workload": workload, "side": row.side, "median": figures(&median), "to_nginx": ratios,
                "rounds": row.rounds.iter().map(figures).collect::<Vec<_>>(),
            })
        };
        json!({"setup": self.setup, "rows": self.rows.iter().map(row).collect::<Vec<_>>()})
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let setup = |key: &str| self.setup.get(key).map_or_else(String::new, Value::to_string);
        writeln!(
            formatter,
            "{} CPUs, {} connections, medians of {} rounds; nginx with one worker; gateway with {} serving threads, \
             listened {} ms after its start",
            setup("cpus"),
            setup("connections"),
            setup("rounds"),
            setup("gateway_threads"),
            setup("gateway_start_ms"),
        )?;
        for workload in Workload::ALL {
            let title = match workload {
                Workload::Whole => format!("{} whole answers a round", setup("requests")),
                Workload::Streamed => format!("{} of {} events at once", setup("streams"), setup("events")),
                Workload::Paced => {
                    format!("{} of {} events, one per {PACE:?}", setup("paced"), setup("events"))
                }
            };
            writeln!(
                formatter,
                "\n{title:<36} {:>10} {:>14} {:>9} {:>9}   beside nginx: CPU, p50",
                "requests/s", "CPU µs/request", "p50 µs", "p99 µs"
            )?;
            for row in self.rows.iter().filter(|row| row.workload == workload) {
                self.write_row(formatter, row)?;
            }
        }
        Ok(())
    }
}

impl Report {
    fn write_row(&self, formatter: &mut fmt::Formatter<'_>, row: &Row) -> fmt::Result {
        let Figures { requests_per_second, cpu_us, p50_us, p99_us } = row.median();
        let cpu = cpu_us.map_or_else(|| "-".to_owned(), |us| format!("{us:.1}"));
        write!(
            formatter,
            "{:<36} {requests_per_second:>10.0} {cpu:>14} {p50_us:>9.0} {p99_us:>9.0}",
            row.side
        )?;
        if let Some(nginx) = self.nginx(row) {
            let cpu = cpu_us
                .zip(nginx.cpu_us)
                .map_or_else(String::new, |(own, nginx)| format!("× {:.2}", own / nginx));
            write!(formatter, "   {cpu:>17} {:>8}", format!("× {:.2}", p50_us / nginx.p50_us))?;
        }
        writeln!(formatter)
    }
}
