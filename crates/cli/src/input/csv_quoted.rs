//! A CSV row with quotes in it: its columns, its end, and its unquoted form.

use super::Span;
use super::fault::RowFault;

/// Which columns of the row at hand have doubled quotes. Kept between rows for its memory.
#[derive(Debug, Default)]
pub struct QuotedRow {
    doubled: Vec<usize>,
}

impl QuotedRow {
    /// Whether any column has a doubled quote.
    pub fn has_doubled(&self) -> bool {
        !self.doubled.is_empty()
    }
}

/// What a scan from the start of a row found.
#[derive(Debug)]
pub enum QuotedScan {
    /// The row doesn't end in the bytes there are.
    Incomplete,
    /// A whole row.
    Row {
        /// Position after its last byte, the line end not counted.
        end: usize,
        /// Position of the next row.
        next: usize,
        /// How many columns it has.
        found: usize,
        /// How many lines it spans.
        lines: u64,
        /// What is wrong with its quotes.
        fault: Option<RowFault>,
    },
}

/// Where the column at hand stands with its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing of it was seen.
    Start,
    /// It didn't start with a quote.
    Bare,
    /// After its opening quote.
    Quoted,
    /// After a quote inside a quoted column: its end, or the first half of a doubled quote.
    QuoteInQuoted,
    /// After its end came something else: the row is bad, its end is still looked for.
    AfterEnd,
}

impl State {
    /// The state after a byte that ends neither the column nor the row.
    fn after(self, byte: u8, follower: Option<u8>) -> State {
        match (self, byte) {
            (State::Start, b'"') => State::Quoted,
            (State::Start | State::Bare, _) => State::Bare,
            (State::Quoted, b'"') => State::QuoteInQuoted,
            (State::QuoteInQuoted, b'"') | (State::Quoted, _) => State::Quoted,
            // The first half of a line end.
            (State::QuoteInQuoted, b'\r') if matches!(follower, None | Some(b'\n')) => {
                State::QuoteInQuoted
            }
            (State::QuoteInQuoted | State::AfterEnd, _) => State::AfterEnd,
        }
    }
}

/// Scans the row that starts at `start`. Spans lie inside the quotes; columns past the slice are
/// counted, not kept. With `exhausted` the data's end is a row's end.
pub fn scan_quoted_row(
    data: &[u8],
    start: usize,
    exhausted: bool,
    delimiter: u8,
    columns: &mut [Span],
    quoted: &mut QuotedRow,
) -> QuotedScan {
    quoted.doubled.clear();
    let mut state = State::Start;
    let mut column_start = start;
    let mut content_end = start;
    let mut found = 0;
    let mut inner_lines = 0;
    let mut fault = None;
    let mut at = start;
    loop {
        let byte = match data.get(at) {
            Some(&byte) => byte,
            None if !exhausted => return QuotedScan::Incomplete,
            None => {
                if state == State::Quoted {
                    fault = Some(RowFault::UnclosedQuote { column: found + 1 });
                    inner_lines -= u64::from(data.last() == Some(&b'\n') && inner_lines > 0);
                }
                b'\n'
            }
        };
        let at_end = at >= data.len();
        let ends_row = byte == b'\n' && (state != State::Quoted || at_end);
        let ends_column = byte == delimiter && state != State::Quoted;
        if ends_row || ends_column {
            let mut end = if state == State::QuoteInQuoted { content_end } else { at };
            if ends_row && matches!(state, State::Bare) && data[at - 1] == b'\r' {
                end -= 1;
            }
            if let Some(column) = columns.get_mut(found) {
                *column = Span { start: column_start as u32, end: end.max(column_start) as u32 };
            }
            found += 1;
            if ends_row {
                let row_end =
                    if at > start && !at_end && data[at - 1] == b'\r' { at - 1 } else { at };
                let lines = 1 + inner_lines;
                return QuotedScan::Row { end: row_end, next: at + 1, found, lines, fault };
            }
            state = State::Start;
            column_start = at + 1;
            at += 1;
            continue;
        }
        let next = state.after(byte, data.get(at + 1).copied());
        match (state, next) {
            (State::Start, State::Quoted) => column_start = at + 1,
            (State::Quoted, State::QuoteInQuoted) => content_end = at,
            (State::Quoted, _) => inner_lines += u64::from(byte == b'\n'),
            (State::QuoteInQuoted, State::Quoted) if quoted.doubled.last() != Some(&found) => {
                quoted.doubled.push(found);
            }
            (State::QuoteInQuoted, State::AfterEnd) => {
                fault.get_or_insert(RowFault::TextAfterQuote { column: found + 1 });
            }
            _ => {}
        }
        state = next;
        at += 1;
    }
}

/// Turns each doubled quote of the row's columns into one, moving what follows it in the column.
pub fn unquote_in_place(buffer: &mut [u8], columns: &mut [Span], quoted: &QuotedRow) {
    for &index in &quoted.doubled {
        let Some(column) = columns.get_mut(index) else { continue };
        let bytes = &mut buffer[column.start as usize..column.end as usize];
        let mut kept = 0;
        let mut at = 0;
        while at < bytes.len() {
            bytes[kept] = bytes[at];
            kept += 1;
            at += if bytes[at] == b'"' { 2 } else { 1 };
        }
        column.end = column.start + kept as u32;
    }
}

/// Looks for the end of a row that is going to be dropped, taking each quote for one that opens or
/// closes: the position after its line feed, how many lines passed, and whether a quote is open.
pub fn find_row_end(bytes: &[u8], mut in_quotes: bool) -> (Option<usize>, u64, bool) {
    let mut lines = 0;
    for at in memchr::memchr2_iter(b'"', b'\n', bytes) {
        if bytes[at] == b'"' {
            in_quotes = !in_quotes;
            continue;
        }
        lines += 1;
        if !in_quotes {
            return (Some(at + 1), lines, false);
        }
    }
    (None, lines, in_quotes)
}
