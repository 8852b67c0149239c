//! How far a run is, as lines of text that fit a terminal of any width.
//!
//! Laws: no line is wider than it may be; however many files there are, a few lines are drawn; a
//! rate counts what this run read, not what runs before did.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::units;

/// So many files that were read, and whose end isn't kept yet, are shown by name.
const READ_MAX: usize = 2;

/// What is shown of a file's name: its end, which tells one file from the next.
const NAME_COLUMNS: usize = 16;

/// The narrowest bar, in columns.
const BAR_COLUMNS_MIN: usize = 8;

/// The widest bar, in columns.
const BAR_COLUMNS_MAX: usize = 40;

/// The file that is read.
#[derive(Debug)]
struct FileView {
    name: String,
    /// Bytes that runs before this one read.
    first_bytes: u64,
    bytes: u64,
    total_bytes: Option<u64>,
    /// Rows of the run when it began.
    rows_before: u64,
    begun: Instant,
}

/// All that is known of how far a run is.
#[derive(Debug)]
pub(super) struct View {
    begun: Instant,
    /// None while any number may come.
    file_count: Option<u64>,
    total_bytes: Option<u64>,
    current: Option<FileView>,
    /// Files that were read to their end, and aren't done yet.
    read: VecDeque<String>,
    done_count: u64,
    /// Bytes of the files before the current one.
    behind_bytes: u64,
    /// Bytes that runs before this one read.
    skipped_bytes: u64,
    row_count: u64,
    remark: String,
}

/// A part of a line, which is there if there is room; of several the lower rank is kept longer.
struct Part {
    rank: u8,
    text: String,
}

fn part(rank: u8, text: String) -> Part {
    Part { rank, text }
}

impl View {
    pub(super) fn new(file_count: Option<u64>, total_bytes: Option<u64>, now: Instant) -> View {
        View {
            begun: now,
            file_count,
            total_bytes,
            current: None,
            read: VecDeque::new(),
            done_count: 0,
            behind_bytes: 0,
            skipped_bytes: 0,
            row_count: 0,
            remark: String::new(),
        }
    }

    /// The rows of a file come next, from a byte of it on.
    pub(super) fn begin_file(
        &mut self,
        name: &str,
        first_bytes: u64,
        total_bytes: Option<u64>,
        now: Instant,
    ) {
        self.file_read();
        self.skipped_bytes += first_bytes;
        self.current = Some(FileView {
            name: shortened(name),
            first_bytes,
            bytes: first_bytes,
            total_bytes,
            rows_before: self.row_count,
            begun: now,
        });
    }

    /// The one that is read is read so far, and the run has so many rows.
    pub(super) fn at(&mut self, file_bytes: u64, row_count: u64) {
        self.row_count = row_count;
        if let Some(file) = &mut self.current {
            file.bytes = file_bytes;
        }
    }

    /// The one that was read is behind.
    pub(super) fn file_read(&mut self) {
        if let Some(file) = self.current.take() {
            self.behind_bytes += file.bytes;
            self.read.push_back(file.name);
        }
    }

    /// The first of the files that were read is done.
    pub(super) fn file_done(&mut self) {
        self.read.pop_front();
        self.done_count += 1;
    }

    /// A file was done before this run.
    pub(super) fn skip_file(&mut self, bytes: u64) {
        self.done_count += 1;
        self.behind_bytes += bytes;
        self.skipped_bytes += bytes;
    }

    pub(super) fn set_remark(&mut self, remark: String) {
        self.remark = remark;
    }

    /// The lines to draw: files that wait for their end to be kept, the one that is read, and the
    /// whole run if that has several.
    pub(super) fn lines(&self, width: usize, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        if self.file_count != Some(1) {
            let hidden = self.read.len().saturating_sub(READ_MAX);
            if hidden > 0 {
                let more = units::counted(hidden as u64, "file");
                lines.push(fitted(width, &format!(" {more} more read, to be acknowledged")));
            }
            for name in self.read.iter().skip(hidden) {
                lines.push(fitted(width, &format!(" {} read, to be acknowledged", padded(name))));
            }
        }
        if let Some(file) = &self.current {
            lines.push(self.file_line(file, width, now));
        }
        if self.file_count != Some(1) {
            lines.push(self.whole_line(width, now));
        } else if lines.is_empty() {
            lines.push(fitted(width, " all read, to be acknowledged"));
        }
        lines
    }

    fn file_line(&self, file: &FileView, width: usize, now: Instant) -> String {
        let elapsed = now.saturating_duration_since(file.begun);
        let read_bytes = file.bytes.saturating_sub(file.first_bytes);
        let rows = self.row_count - file.rows_before;
        let done = Done { bytes: file.bytes, total_bytes: file.total_bytes, read_bytes, elapsed };
        let mut parts = Vec::new();
        if let Some(percent) = done.percent() {
            parts.push(part(1, percent));
        }
        parts.push(part(3, done.in_words()));
        parts.push(part(4, format!("{} rows", units::grouped(rows))));
        let rate = units::per_second(rows, elapsed);
        parts.push(part(5, format!("{rate}, {}", units::bytes_per_second(read_bytes, elapsed))));
        if let Some(left) = done.left() {
            parts.push(part(2, left));
        }
        if !self.remark.is_empty() {
            parts.push(part(1, self.remark.clone()));
        }
        lay_out(width, &file.name, done.fraction(), &parts)
    }

    fn whole_line(&self, width: usize, now: Instant) -> String {
        let done = self.done(now);
        let mut parts = Vec::new();
        if let Some(percent) = done.percent() {
            parts.push(part(1, percent));
        }
        let waiting = self.waiting_count();
        if waiting > 0 {
            parts.push(part(3, format!("{} waiting", units::grouped(waiting))));
        }
        parts.push(part(4, done.in_words()));
        parts.push(part(5, format!("{} rows", units::grouped(self.row_count))));
        let rate = units::bytes_per_second(done.read_bytes, done.elapsed);
        let rows_rate = units::per_second(self.row_count, done.elapsed);
        parts.push(part(6, format!("{rows_rate}, {rate}")));
        if let Some(left) = done.left() {
            parts.push(part(2, left));
        }
        if self.current.is_none() && !self.remark.is_empty() {
            parts.push(part(1, self.remark.clone()));
        }
        lay_out(width, &self.files_in_words(), done.fraction(), &parts)
    }

    /// The same in one sentence, where there is no terminal.
    pub(super) fn sentence(&self, now: Instant) -> String {
        let done = self.done(now);
        let mut parts = vec![self.files_in_words()];
        if let (Some(file), true) = (&self.current, self.file_count != Some(1)) {
            parts.push(format!("at {}", file.name));
        }
        parts.push(done.in_words());
        parts.extend(done.percent());
        parts.push(format!("{} rows", units::grouped(self.row_count)));
        parts.push(units::per_second(self.row_count, done.elapsed));
        parts.extend(done.left());
        if !self.remark.is_empty() {
            parts.push(self.remark.clone());
        }
        parts.join(", ")
    }

    fn files_in_words(&self) -> String {
        let done = units::grouped(self.done_count);
        match self.file_count {
            Some(count) => format!("{done} of {}", units::counted(count, "file")),
            None => format!("{} done", units::counted(self.done_count, "file")),
        }
    }

    fn waiting_count(&self) -> u64 {
        let begun = self.done_count + self.read.len() as u64 + u64::from(self.current.is_some());
        self.file_count.map_or(0, |count| count.saturating_sub(begun))
    }

    fn done(&self, now: Instant) -> Done {
        let bytes = self.behind_bytes + self.current.as_ref().map_or(0, |file| file.bytes);
        Done {
            bytes,
            total_bytes: self.total_bytes,
            read_bytes: bytes.saturating_sub(self.skipped_bytes),
            elapsed: now.saturating_duration_since(self.begun),
        }
    }
}

/// How much of so many bytes is read, and how fast.
struct Done {
    bytes: u64,
    total_bytes: Option<u64>,
    read_bytes: u64,
    elapsed: Duration,
}

impl Done {
    fn fraction(&self) -> Option<f64> {
        let total_bytes = self.total_bytes?.max(1);
        Some((self.bytes as f64 / total_bytes as f64).min(1.0))
    }

    fn percent(&self) -> Option<String> {
        self.fraction().map(|fraction| format!("{:>3} %", (fraction * 100.0) as u64))
    }

    fn in_words(&self) -> String {
        match self.total_bytes {
            Some(total) => format!("{} of {}", units::bytes(self.bytes), units::bytes(total)),
            None => units::bytes(self.bytes),
        }
    }

    /// What is left, at the speed so far.
    fn left(&self) -> Option<String> {
        let rest = self.total_bytes?.saturating_sub(self.bytes);
        if self.read_bytes == 0 {
            return None;
        }
        let seconds = self.elapsed.as_secs_f64() * rest as f64 / self.read_bytes as f64;
        let left = Duration::try_from_secs_f64(seconds).ok()?;
        Some(format!("{} left", units::whole_seconds(Duration::from_secs(left.as_secs() + 1))))
    }
}

/// A label, a bar if it is known how much there is, and as many parts as fit, in their order.
fn lay_out(width: usize, label: &str, fraction: Option<f64>, parts: &[Part]) -> String {
    let label = padded(label);
    // As wide on each line, so that they begin and end alike.
    let bar_columns = (width / 4).clamp(BAR_COLUMNS_MIN, BAR_COLUMNS_MAX);
    let of_bar = fraction.map_or(0, |_| bar_columns + 2);
    let mut free = width.saturating_sub(2 + columns(&label) + of_bar);
    let mut is_shown = vec![false; parts.len()];
    let mut by_rank: Vec<usize> = (0..parts.len()).collect();
    by_rank.sort_by_key(|index| parts[*index].rank);
    for index in by_rank {
        let needed = columns(&parts[index].text) + 2;
        if needed > free {
            // What is less important isn't shown instead of what is more.
            break;
        }
        free -= needed;
        is_shown[index] = true;
    }
    let mut line = format!(" {label}");
    if let Some(fraction) = fraction {
        line.push_str("  ");
        line.push_str(&bar(fraction, bar_columns));
    }
    for (part, _) in parts.iter().zip(is_shown).filter(|(_, is_shown)| *is_shown) {
        line.push_str("  ");
        line.push_str(&part.text);
    }
    fitted(width, &line)
}

fn bar(fraction: f64, bar_columns: usize) -> String {
    let done = (fraction * bar_columns as f64) as usize;
    let mut bar = "━".repeat(done);
    if done < bar_columns {
        bar.push('╸');
        bar.push_str(&"─".repeat(bar_columns - done - 1));
    }
    bar
}

/// As much of a line as a terminal shows without beginning another one.
fn fitted(width: usize, line: &str) -> String {
    let mut used = 0;
    let fits = |character: &char| {
        used += character_columns(*character);
        used < width
    };
    line.chars().take_while(fits).collect()
}

/// The end of a name, without anything that would move a terminal's cursor.
fn shortened(name: &str) -> String {
    let plain = |c: char| if c.is_control() { '?' } else { c };
    let name: String = name.chars().map(plain).collect();
    if columns(&name) <= NAME_COLUMNS {
        return name;
    }
    let mut used = 1;
    let fits = |character: &char| {
        used += character_columns(*character);
        used <= NAME_COLUMNS
    };
    let end: Vec<char> = name.chars().rev().take_while(fits).collect();
    ['…'].into_iter().chain(end.into_iter().rev()).collect()
}

fn padded(label: &str) -> String {
    let mut padded = label.to_owned();
    padded.extend(std::iter::repeat_n(' ', NAME_COLUMNS.saturating_sub(columns(label))));
    padded
}

fn columns(text: &str) -> usize {
    text.chars().map(character_columns).sum()
}

/// Two where scripts begin whose characters may be that wide: rather too much than too little.
fn character_columns(character: char) -> usize {
    match character {
        '\u{1100}'..='\u{1fff}' | '\u{2e80}'.. => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn view(file_count: Option<u64>, total_bytes: Option<u64>) -> (View, Instant) {
        let now = Instant::now();
        (View::new(file_count, total_bytes, now), now)
    }

    #[test]
    fn of_one_file_one_line_is_drawn_with_what_there_is_room_for() {
        let (mut view, now) = view(Some(1), Some(4_000_000));
        view.begin_file("clicks.csv", 0, Some(4_000_000), now);
        view.at(1_000_000, 20_000);
        let shown = |width| view.lines(width, now + SECOND);
        assert_eq!(
            shown(121),
            [" clicks.csv        ━━━━━━━╸──────────────────────   25 %  1.00 MB of 4.00 MB  \
               20,000 rows  20,000/s, 1.00 MB/s  4 s left"]
        );
        assert_eq!(shown(40), [" clicks.csv        ━━╸───────   25 %"]);
        assert_eq!(shown(50), [" clicks.csv        ━━━╸────────   25 %  4 s left"]);
        for width in 0..200 {
            assert!(shown(width).iter().all(|line| line.chars().count() < width.max(1)), "{width}");
        }
    }

    #[test]
    fn without_a_length_no_bar_and_no_time_is_guessed() {
        let (mut view, now) = view(Some(1), None);
        view.begin_file("<stdin>", 0, None, now);
        view.at(2000, 10);
        let expected = " <stdin>           2.00 kB  10 rows  10/s, 2.00 kB/s";
        assert_eq!(view.lines(80, now + SECOND), [expected]);
        assert_eq!(view.sentence(now + SECOND), "0 of 1 file, 2.00 kB, 10 rows, 10/s");
    }

    #[test]
    fn of_many_files_a_few_lines_are_drawn_and_what_waits_is_counted() {
        let (mut view, now) = view(Some(10_000), Some(10_000_000));
        for file in 0..100 {
            view.begin_file(&format!("{file}.csv"), 0, Some(1000), now);
            view.at(1000, file + 1);
        }
        (0..90).for_each(|_| view.file_done());
        let lines = view.lines(100, now + SECOND);
        assert_eq!(lines.len(), 5, "{lines:#?}");
        assert!(lines[0].contains("7 files more read"), "{}", lines[0]);
        assert!(lines[1].contains("97.csv"), "{}", lines[1]);
        assert!(lines[3].contains("99.csv") && lines[3].contains("100 %"), "{}", lines[3]);
        let whole = &lines[4];
        assert!(whole.contains("90 of 10,000 files") && whole.contains("9,900 waiting"), "{whole}");
        let sentence = view.sentence(now + SECOND);
        assert!(sentence.starts_with("90 of 10,000 files, at 99.csv, 100 kB of 10.0 MB,   1 %"));
    }

    #[test]
    fn a_rate_counts_what_this_run_read() {
        let (mut view, now) = view(Some(2), Some(3000));
        view.skip_file(1000);
        view.begin_file("b.csv", 1500, Some(2000), now);
        view.at(1600, 4);
        let lines = view.lines(120, now + SECOND);
        assert!(lines[0].contains("1.60 kB of 2.00 kB") && lines[0].contains("4/s, 100 B/s"));
        assert!(lines[1].contains("1 of 2 files") && lines[1].contains("4/s, 100 B/s"));
        assert!(lines[1].contains("2.60 kB of 3.00 kB") && lines[1].contains("5 s left"));
    }

    #[test]
    fn of_a_long_name_its_end_is_shown_and_nothing_that_moves_a_cursor() {
        assert_eq!(shortened("clicks.csv"), "clicks.csv");
        assert_eq!(shortened("events-of-the-shop-2019-10.csv"), "…hop-2019-10.csv");
        assert_eq!(shortened("a\n\u{1b}[2Jb"), "a??[2Jb");
        assert!(columns(&shortened("注文-2026年11月28日の記録.csv")) <= NAME_COLUMNS);
    }
}
