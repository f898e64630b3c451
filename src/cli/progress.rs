//! A bar for what takes longer than a second, on stderr and only when it is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over `total` steps, called `what`.
pub(super) fn bar(what: &'static str, total: usize) -> ProgressBar {
    // indicatif draws on stderr, and nowhere when that is no terminal.
    let bar = ProgressBar::new(total as u64).with_message(what);
    match ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {elapsed}, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Sets a bar to how many steps are done, and of how many.
pub(super) fn of(bar: &ProgressBar) -> impl Fn(usize, usize) + Sync {
    |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    }
}

/// A bar over the steps of a long training, whose message is the latest that is known of it.
#[cfg(feature = "finetune")]
pub(super) fn training(steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64);
    match ProgressStyle::with_template("step {pos}/{len} {wide_bar} {msg} {elapsed}, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A count of what is done, when nobody knows how much there is; hidden unless `visible`.
pub(super) fn counter(what: &'static str, visible: bool) -> ProgressBar {
    if !visible {
        return ProgressBar::hidden();
    }
    let counter = ProgressBar::new_spinner().with_message(what);
    match ProgressStyle::with_template("{spinner} {pos} {msg}, {per_sec}") {
        Ok(style) => counter.with_style(style),
        Err(_) => counter,
    }
}

/// A bar over bytes.
pub(super) fn bytes(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(0).with_message(what);
    match ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
