//! The metrics of the connection to Redis.

use prometheus::{IntCounter, IntGauge};

use super::Metrics;

/// How the connection to Redis stands. Seen only where there is to be one: an alert on `pointsman_redis_up` is for nobody else.
#[derive(Debug)]
pub struct RedisMetrics {
    /// `pointsman_redis_up`: 1 while there is a connection.
    pub up: IntGauge,
    /// `pointsman_redis_commands_total`: round trips.
    pub commands: IntCounter,
}

impl RedisMetrics {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let up = IntGauge::new("redis_up", "Whether there is a connection to Redis")?;
        Ok(Self { up, commands: IntCounter::new("redis_commands_total", "Round trips to Redis")? })
    }
}

impl Metrics {
    /// Shows how the connection to Redis stands, from now on.
    pub fn show_redis(&self) {
        // They may be shown already.
        let _ = self.registry.register(Box::new(self.redis.up.clone()));
        let _ = self.registry.register(Box::new(self.redis.commands.clone()));
    }
}
