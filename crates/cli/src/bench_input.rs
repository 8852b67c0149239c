//! The records of a bench: a file's lines or click events, over and over.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::clicks::{ClickRenderer, is_click_header};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::input::lines::{BlankLines, LineRows};
use crate::input::{ChunkReader, CsvRows, ROW_BYTES_MAX_DEFAULT, ReadFault, Span, file};

/// A file of lines up to this size is kept in memory, so that reading it isn't measured.
const IN_MEMORY_BYTES_MAX: u64 = 64 << 20;

/// What a file for the bench holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum BenchFormat {
    /// A value a line, without a key
    Lines,
    /// Click events: each row becomes JSON, keyed by user_id, while the clock runs
    Clicks,
}

/// A record: its key, if it has one, and its value.
pub type KeyAndValue<'a> = (Option<&'a [u8]>, &'a [u8]);

/// Records of a file without end.
#[derive(Debug)]
pub struct BenchInput {
    path: PathBuf,
    rows: Rows,
}

#[derive(Debug)]
enum Rows {
    Memory { text: Vec<u8>, lines: Vec<Span>, next: usize },
    Lines(Box<LineRows<File>>),
    Clicks { rows: Box<CsvRows<File>>, renderer: Box<ClickRenderer> },
}

impl BenchInput {
    /// Opens the file; it must hold at least one record.
    pub fn open(path: &Path, format: BenchFormat) -> Outcome<BenchInput> {
        let rows = match format {
            BenchFormat::Lines => open_lines(path)?,
            BenchFormat::Clicks => open_clicks(path)?,
        };
        let mut input = BenchInput { path: path.to_owned(), rows };
        input.next_record()?;
        input.rewind()?;
        Ok(input)
    }

    /// The next record; after the last one, the first.
    #[inline]
    pub fn next_record(&mut self) -> Outcome<KeyAndValue<'_>> {
        if !self.advance()? {
            self.rewind()?;
            if !self.advance()? {
                let what = format!("{} holds no record", self.path.display());
                return Failure::new(Exit::BadInput, what).err();
            }
        }
        match &mut self.rows {
            Rows::Memory { text, lines, next } => Ok((None, lines[*next - 1].of(text))),
            Rows::Lines(lines) => Ok((None, lines.current().bytes)),
            Rows::Clicks { rows, renderer } => {
                let row = rows.current();
                match renderer.render(&row) {
                    Ok(rendered) => Ok((rendered.key, rendered.value)),
                    Err(fault) => Err(file::bad_row(&self.path, row.line(), &fault).into()),
                }
            }
        }
    }

    #[inline]
    fn advance(&mut self) -> Outcome<bool> {
        let advanced = match &mut self.rows {
            Rows::Memory { lines, next, .. } => {
                *next += 1;
                return Ok(*next <= lines.len());
            }
            Rows::Lines(lines) => lines.advance(),
            Rows::Clicks { rows, .. } => rows.advance(),
        };
        advanced.map_err(|fault| file::failed_at(&self.path, *fault).into())
    }

    fn rewind(&mut self) -> Outcome<()> {
        match &mut self.rows {
            Rows::Memory { next, .. } => *next = 0,
            Rows::Lines(_) => self.rows = Rows::Lines(lines_of(file::open(&self.path)?.0).into()),
            Rows::Clicks { .. } => self.rows = open_clicks(&self.path)?,
        }
        Ok(())
    }
}

fn lines_of<R: std::io::Read>(source: R) -> LineRows<R> {
    LineRows::new(ChunkReader::new(source, ROW_BYTES_MAX_DEFAULT), BlankLines::Kept)
}

fn open_lines(path: &Path) -> Outcome<Rows> {
    let (mut source, file_bytes) = file::open(path)?;
    if file_bytes > IN_MEMORY_BYTES_MAX {
        return Ok(Rows::Lines(lines_of(source).into()));
    }
    // One byte more, so that the end is found without growing.
    let mut text = Vec::with_capacity(usize::try_from(file_bytes).unwrap_or(0) + 1);
    let failed = |fault| file::failed_at(path, fault);
    source.read_to_end(&mut text).map_err(|error| failed(ReadFault::Io(error)))?;
    let mut lines = Vec::new();
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', &text).chain([text.len()]) {
        if end > start || end < text.len() {
            lines.push(Span { start: start as u32, end: end as u32 });
        }
        start = end + 1;
    }
    Ok(Rows::Memory { text, lines, next: 0 })
}

fn open_clicks(path: &Path) -> Outcome<Rows> {
    let (source, _) = file::open(path)?;
    let opened = CsvRows::open(ChunkReader::new(source, ROW_BYTES_MAX_DEFAULT), b',');
    match opened.map_err(|fault| file::failed_at(path, *fault))? {
        Some(rows) if is_click_header(rows.names()) => {
            let renderer = Box::new(ClickRenderer::reference());
            Ok(Rows::Clicks { rows: Box::new(rows), renderer })
        }
        _ => {
            Failure::new(Exit::BadInput, format!("{} isn't a file of click events", path.display()))
                .cause(format!("its header isn't {}", crate::clicks::COLUMNS.join(",")))
                .remedy("make one with `streamledger generate clicks`, or say --format lines")
                .err()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn written(content: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn take(input: &mut BenchInput, count: usize) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (0..count).map(|_| text(input.next_record().unwrap().1)).collect()
    }

    #[test]
    fn lines_come_over_and_over() {
        for content in [&b"one\n\ntwo"[..], b"one\n\ntwo\n"] {
            let file = written(content);
            let mut input = BenchInput::open(file.path(), BenchFormat::Lines).unwrap();
            assert_eq!(take(&mut input, 5), ["one", "", "two", "one", ""]);
        }
        let file = written(b"one\n\ntwo\n");
        let rows = Rows::Lines(lines_of(File::open(file.path()).unwrap()).into());
        let mut input = BenchInput { path: file.path().to_owned(), rows };
        assert_eq!(take(&mut input, 5), ["one", "", "two", "one", ""]);
    }

    #[test]
    fn click_events_come_keyed_and_over_and_over() {
        let mut text = Vec::new();
        crate::clicks::generate::ClickGenerator::header(&mut text);
        text.extend_from_slice(b"2019-10-01 00:00:00 UTC,view,1,2,,,3,77,s\n");
        let file = written(&text);
        let mut input = BenchInput::open(file.path(), BenchFormat::Clicks).unwrap();
        let values = take(&mut input, 3);
        assert!(values[0].starts_with("{\"eventTime\":1569888000000") && values[0] == values[2]);
        assert_eq!(input.next_record().unwrap().0, Some(&b"77"[..]));
    }

    #[test]
    fn a_file_without_records_is_refused() {
        for (content, format) in [
            (&b""[..], BenchFormat::Lines),
            (b"", BenchFormat::Clicks),
            (b"a,b\n1,2\n", BenchFormat::Clicks),
        ] {
            let file = written(content);
            assert_eq!(BenchInput::open(file.path(), format).unwrap_err().exit, Exit::BadInput);
        }
    }
}
