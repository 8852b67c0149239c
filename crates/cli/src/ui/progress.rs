//! The progress of a long run on stderr: bars on a terminal, elsewhere a sentence now and then.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use parking_lot::Mutex;

use super::progress_view::View;

/// How often the bars are drawn again.
const TICK: Duration = Duration::from_millis(125);

/// How often a sentence is written where there is no terminal.
const BETWEEN_SENTENCES: Duration = Duration::from_secs(10);

/// A display of how far a run is. Telling it costs a lock that is nearly always free.
#[derive(Debug)]
pub struct Progress {
    view: Arc<Mutex<View>>,
    shown: Shown,
}

#[derive(Debug)]
enum Shown {
    Nothing,
    Sentences { last: Instant },
    Bars(ProgressBar),
}

impl Progress {
    /// A display for so many files and bytes of input, None if nobody knows how many; nothing is
    /// shown if `quiet`.
    pub fn of_files(file_count: Option<u64>, total_bytes: Option<u64>, quiet: bool) -> Progress {
        let view = Arc::new(Mutex::new(View::new(file_count, total_bytes, Instant::now())));
        let shown = if quiet {
            Shown::Nothing
        } else if std::io::stderr().is_terminal() {
            Shown::Bars(bars(&view))
        } else {
            Shown::Sentences { last: Instant::now() }
        };
        Progress { view, shown }
    }

    /// The rows of a file come next, from a byte of it on.
    pub fn begin_file(&self, name: &str, first_bytes: u64, total_bytes: Option<u64>) {
        self.view.lock().begin_file(name, first_bytes, total_bytes, Instant::now());
    }

    /// The file that is read is read so far, and the run has so many rows.
    pub fn at(&mut self, file_bytes: u64, row_count: u64) {
        let mut view = self.view.lock();
        view.at(file_bytes, row_count);
        if let Shown::Sentences { last } = &mut self.shown {
            let now = Instant::now();
            if now.saturating_duration_since(*last) >= BETWEEN_SENTENCES {
                *last = now;
                super::say(format_args!("progress: {}", view.sentence(now)));
            }
        }
    }

    /// The file that was read is behind; whether it is done is told later.
    pub fn file_read(&self) {
        self.view.lock().file_read();
    }

    /// The first of the files that were read is done.
    pub fn file_done(&self) {
        self.view.lock().file_done();
    }

    /// A file was done before this run.
    pub fn skip_file(&self, bytes: u64) {
        self.view.lock().skip_file(bytes);
    }

    /// Shows a remark behind the numbers.
    pub fn remark(&self, remark: String) {
        self.view.lock().set_remark(remark);
    }

    /// Prints a line above the display.
    pub fn say(&self, text: &str) {
        match &self.shown {
            Shown::Bars(bars) => bars.suspend(|| super::say(text)),
            Shown::Nothing | Shown::Sentences { .. } => super::say(text),
        }
    }

    /// Takes the display away.
    pub fn clear(&self) {
        if let Shown::Bars(bars) = &self.shown {
            bars.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Draws the lines of a view again and again, at the width that the terminal has by then.
fn bars(view: &Arc<Mutex<View>>) -> ProgressBar {
    let view = Arc::clone(view);
    let lines = move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
        let lines = view.lock().lines(columns(), Instant::now());
        let _ = out.write_str(&lines.join("\n"));
    };
    let style = ProgressStyle::with_template("{lines}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key("lines", lines);
    let bars = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
    bars.set_style(style);
    bars.enable_steady_tick(TICK);
    bars
}

/// How wide the terminal is.
fn columns() -> usize {
    comfy_table::Table::new().use_stderr().width().map_or(80, usize::from)
}
