//! The times that budgets are for, in UTC.

use std::time::{Duration, SystemTime};

use time::{Month, OffsetDateTime, Time};

/// How long a budget lasts before it is whole again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// From midnight to midnight, in UTC.
    Day,
    /// From the first of a month to the next, in UTC.
    Month,
    /// For ever.
    Total,
}

impl Period {
    /// Every period.
    pub const ALL: [Self; 3] = [Self::Day, Self::Month, Self::Total];

    /// Its name in files and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
            Self::Total => "total",
        }
    }

    /// The number of the period that `now` is in: a later one has a higher number.
    #[must_use]
    pub fn number(self, now: SystemTime) -> i64 {
        let now = OffsetDateTime::from(now);
        match self {
            Self::Day => i64::from(now.to_julian_day()),
            Self::Month => i64::from(now.year()) * 12 + i64::from(u8::from(now.month())),
            Self::Total => 0,
        }
    }

    /// When the period that `now` is in began; `None` for the one that always was.
    #[must_use]
    pub fn start(self, now: SystemTime) -> Option<SystemTime> {
        let midnight = OffsetDateTime::from(now).replace_time(Time::MIDNIGHT);
        match self {
            Self::Day => Some(midnight.into()),
            Self::Month => midnight.replace_day(1).ok().map(SystemTime::from),
            Self::Total => None,
        }
    }

    /// How long it is until the next one; `None` where there is none.
    #[must_use]
    pub fn until_next(self, now: SystemTime) -> Option<Duration> {
        let start = OffsetDateTime::from(self.start(now)?);
        let next = match self {
            Self::Day => start.checked_add(time::Duration::DAY)?,
            Self::Month | Self::Total => {
                let month = start.month().next();
                let year = start.year() + i32::from(month == Month::January);
                start.replace_year(year).ok()?.replace_month(month).ok()?
            }
        };
        SystemTime::from(next).duration_since(now).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SystemTime {
        OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).unwrap().into()
    }

    #[test]
    fn periods_are_those_of_the_calendar_in_utc() {
        let now = at("2024-02-29T23:59:58Z");
        assert_eq!(Period::Day.start(now), Some(at("2024-02-29T00:00:00Z")));
        assert_eq!(Period::Month.start(now), Some(at("2024-02-01T00:00:00Z")));
        assert_eq!(Period::Total.start(now), None);
        for period in [Period::Day, Period::Month] {
            assert_eq!(period.until_next(now), Some(Duration::from_secs(2)));
            assert_eq!(period.number(at("2024-03-01T00:00:00Z")), period.number(now) + 1);
        }
        let december = at("2025-12-31T12:00:00Z");
        assert_eq!(Period::Month.until_next(december), Some(Duration::from_secs(12 * 3600)));
        assert_eq!(Period::Month.number(at("2026-01-01T00:00:00Z")), Period::Month.number(december) + 1);
        assert_eq!(Period::Total.until_next(now), None);
        assert_eq!(Period::Total.number(now), Period::Total.number(december));
    }
}
