//! The progress of a long run on stderr: bytes, rows and time left; nothing without a terminal.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::units;

/// How often the display is drawn again.
const TICK: Duration = Duration::from_millis(125);

const WIDE: &str =
    " {prefix}  {wide_bar:.cyan/dim}  {percent:>3} %   {done}   {rows}   {rate}   {left} {msg} ";
const NARROW: &str = " {wide_bar:.cyan/dim}  {percent:>3} %   {done}   {rate}   {left} ";
const ENDLESS: &str = " {prefix}  {done}   {rows}   {rate} {msg}";
/// For a replay on a narrow terminal: its own time tells more than bytes.
const NARROW_WITH_REMARK: &str = " {percent:>3} %   {rows}   {msg} ";
/// From this width on, the long form fits.
const WIDE_COLUMNS: u16 = 120;
/// What is shown of a file's name: its end, which tells one file from the next.
const NAME_CHARACTERS: usize = 16;

/// A display of how far a run is. Updating it costs two stores.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    row_count: Arc<AtomicU64>,
}

impl Progress {
    /// A display for so many bytes of input, None if nobody knows how many; nothing is drawn if
    /// `quiet` or without a terminal.
    pub fn of_bytes(total_bytes: Option<u64>, quiet: bool) -> Progress {
        let row_count = Arc::new(AtomicU64::new(0));
        if quiet || !std::io::stderr().is_terminal() {
            return Progress { bar: ProgressBar::hidden(), row_count };
        }
        let target = ProgressDrawTarget::stderr_with_hz(8);
        let bar = ProgressBar::with_draw_target(total_bytes, target);
        let template = match total_bytes {
            None => ENDLESS,
            Some(_) if columns() >= WIDE_COLUMNS => WIDE,
            Some(_) => NARROW,
        };
        bar.set_style(style(&row_count, template));
        bar.enable_steady_tick(TICK);
        Progress { bar, row_count }
    }

    /// Leaves room for remarks.
    #[must_use]
    pub fn with_remarks(self) -> Progress {
        if self.bar.length().is_some() && columns() < WIDE_COLUMNS {
            self.bar.set_style(style(&self.row_count, NARROW_WITH_REMARK));
        }
        self
    }

    /// Shows a word before the bar: which file it is.
    pub fn name(&self, name: &str) {
        self.bar.set_prefix(shortened(name));
    }

    /// How far it is now.
    pub fn at(&self, done_bytes: u64, row_count: u64) {
        self.row_count.store(row_count, Ordering::Relaxed);
        self.bar.set_position(done_bytes);
    }

    /// Shows a remark behind the numbers.
    pub fn remark(&self, remark: String) {
        if !self.bar.is_hidden() {
            self.bar.set_message(remark);
        }
    }

    /// Prints a line above the display.
    pub fn say(&self, text: &str) {
        if self.bar.is_hidden() {
            super::say(text);
        } else {
            self.bar.suspend(|| super::say(text));
        }
    }

    /// Takes the display away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// How wide the terminal is.
fn columns() -> u16 {
    comfy_table::Table::new().use_stderr().width().unwrap_or(80)
}

fn style(row_count: &Arc<AtomicU64>, template: &str) -> ProgressStyle {
    let rows = Arc::clone(row_count);
    let rows_done = move || rows.load(Ordering::Relaxed);
    let rows_rate = rows_done.clone();
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
        .with_key("done", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = match state.len() {
                Some(total) => {
                    write!(out, "{} of {}", units::bytes(state.pos()), units::bytes(total))
                }
                None => write!(out, "{}", units::bytes(state.pos())),
            };
        })
        .with_key("rows", move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{} rows", units::grouped(rows_done()));
        })
        .with_key("rate", move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let rows = units::per_second(rows_rate(), state.elapsed());
            let bytes = units::bytes_per_second(state.pos(), state.elapsed());
            let _ = write!(out, "{rows}, {bytes}");
        })
        .with_key("left", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            if state.pos() > 0 {
                let left = Duration::from_secs(time_left(state).as_secs() + 1);
                let _ = write!(out, "{} left", units::whole_seconds(left));
            }
        })
}

fn shortened(name: &str) -> String {
    let count = name.chars().count();
    if count <= NAME_CHARACTERS {
        return name.to_owned();
    }
    ['…'].into_iter().chain(name.chars().skip(count + 1 - NAME_CHARACTERS)).collect()
}

/// What is left, at the speed so far.
fn time_left(state: &ProgressState) -> Duration {
    let done = state.pos() as f64;
    let rest = state.len().unwrap_or(0).saturating_sub(state.pos()) as f64;
    Duration::try_from_secs_f64(state.elapsed().as_secs_f64() * rest / done).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_name_its_end_is_shown() {
        assert_eq!(shortened("clicks.csv"), "clicks.csv");
        assert_eq!(shortened("events-of-the-shop-2019-10.csv"), "…hop-2019-10.csv");
    }
}
