//! Readers of single values: numbers, sizes, durations, addresses, paths, secrets.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::probability::Probability;
use super::value::Value;
use crate::secret::Secret;

impl Value<'_> {
    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Option<bool> {
        self.choice(&[("true", true), ("false", false)])
    }

    /// A finite number.
    pub(super) fn number(&self) -> Option<f64> {
        self.parsed("a number", "such as 0.3", |text| {
            text.parse().ok().filter(|number: &f64| number.is_finite())
        })
    }

    /// A number within 0..=1.
    pub(super) fn probability(&self) -> Option<Probability> {
        let number = self.number()?;
        let probability = Probability::new(number);
        if probability.is_none() {
            self.error(format!("{number} is not within 0 and 1"), None);
        }
        probability
    }

    /// A whole number within `range`.
    pub(super) fn count(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let number = self.parsed("a whole number", "such as 256", |text| {
            let digits = text.replace('_', "");
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
        })?;
        self.within(number, &range, |limit| limit.to_string())
    }

    /// A number of bytes within `range`: `32MiB`, `64 KiB`, or a plain number of bytes.
    pub(super) fn bytes(&self, range: RangeInclusive<usize>) -> Option<usize> {
        let bytes = self.parsed("a size", "such as 32MiB, 64KiB or a number of bytes", parse_bytes)?;
        self.within(bytes, &range, |limit| format!("{limit} bytes"))
    }

    /// A duration of at least a millisecond and at most `longest`: `50ms`, `1.5s`, `2m`, `1h`.
    pub(super) fn duration(&self, longest: Duration) -> Option<Duration> {
        let duration = self.parsed("a duration", "such as 50ms, 1.5s, 2m or 1h", parse_duration)?;
        self.within(duration, &(Duration::from_millis(1)..=longest), |limit| format!("{limit:?}"))
    }

    /// An address and port to listen on.
    pub(super) fn socket_address(&self) -> Option<SocketAddr> {
        self.parsed("an IP address with a port", "such as 0.0.0.0:8080 or [::1]:8080", |text| {
            text.parse().ok()
        })
    }

    /// A path, relative to the file's directory.
    pub(super) fn file_path(&self) -> Option<PathBuf> {
        Some(self.named(self.text("the path of a file")?))
    }

    /// The path of a folder, relative to the file's directory.
    pub(super) fn folder_path(&self) -> Option<PathBuf> {
        Some(self.named(self.text("the path of a folder")?))
    }

    /// A secret: in the clear, by `${NAME}`, or by `file:` and the path of a file whose last line break is left out.
    pub(super) fn secret(&self, expected: &str) -> Option<Secret> {
        let text = self.text(expected)?;
        let secret = match text.strip_prefix("file:") {
            Some(path) => self.secret_file(path)?,
            None => text.to_owned(),
        };
        if secret.trim().is_empty() {
            self.error(format!("is empty: expects {expected}"), None);
            return None;
        }
        Some(Secret::new(secret))
    }

    /// A path, relative to the file's directory.
    pub(super) fn relative(&self, path: &str) -> PathBuf {
        self.reader.directory.join(path)
    }

    /// A path of the file's own, taken note of.
    fn named(&self, path: &str) -> PathBuf {
        let path = self.relative(path);
        self.reader.files.borrow_mut().insert(path.clone());
        path
    }

    fn secret_file(&self, path: &str) -> Option<String> {
        match read_secret(&self.named(path)) {
            Ok(secret) => Some(secret),
            Err(error) => {
                let written = self.scalar("a secret")?.shown();
                self.error(format!("{written} cannot be read: {error}"), None);
                None
            }
        }
    }

    fn parsed<T>(&self, expected: &str, example: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let scalar = self.scalar(expected)?;
        let parsed = parse(scalar.text.trim());
        if parsed.is_none() {
            self.error(format!("{} is not {expected}", scalar.shown()), example.to_owned());
        }
        parsed
    }

    fn within<T: PartialOrd>(
        &self,
        value: T,
        range: &RangeInclusive<T>,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        if range.contains(&value) {
            return Some(value);
        }
        let given = self.scalar("a value")?.shown();
        let (least, most) = (show(range.start()), show(range.end()));
        self.error(format!("{given} is not within {least} and {most}"), None);
        None
    }
}

fn read_secret(path: &Path) -> std::io::Result<String> {
    const SECRET_BYTES_MAX: u64 = 64 << 10;
    if cfg!(fuzzing) {
        // A fuzzer would find the files that never end.
        return Err(std::io::ErrorKind::NotFound.into());
    }
    let mut secret = String::new();
    File::open(path)?.take(SECRET_BYTES_MAX + 1).read_to_string(&mut secret)?;
    if secret.len() as u64 > SECRET_BYTES_MAX {
        return Err(std::io::Error::other("it is too long"));
    }
    secret.truncate(secret.trim_end_matches(['\r', '\n']).len());
    Ok(secret)
}

fn parse_bytes(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: usize = match unit.trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(factor)
}

fn parse_duration(text: &str) -> Option<Duration> {
    let number = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let seconds = match text.strip_prefix(number)? {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let number = number.trim_end();
    if !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [("0", 0), ("32MiB", 32 << 20), ("64 KiB", 64 << 10), ("10kB", 10_000)] {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5MiB", "1mib", "99999999999999999999", "99999999999GiB"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, millis) in
            [("50ms", 50), ("1.5s", 1500), ("2m", 120_000), ("1h", 3_600_000), ("10 s", 10_000)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "10", "s", "-1s", "1e3s", "1d", "1.2.3s", "infs", "NaNs"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
