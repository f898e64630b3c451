//! The metrics of the connection to Redis.

use prometheus::{IntCounter, IntGauge, Registry};

use super::register;

/// How the connection to Redis stands; without one, nothing but zeros.
#[derive(Debug)]
pub struct RedisMetrics {
    /// `pointsman_redis_up`: 1 while there is a connection.
    pub up: IntGauge,
    /// `pointsman_redis_commands_total`: round trips.
    pub commands: IntCounter,
}

impl RedisMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let up = IntGauge::new("redis_up", "Whether there is a connection to Redis");
        let commands = IntCounter::new("redis_commands_total", "Round trips to Redis");
        Ok(Self {
            up: up.and_then(|metric| register(registry, metric))?,
            commands: commands.and_then(|metric| register(registry, metric))?,
        })
    }
}
