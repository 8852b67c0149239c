//! `generate clicks`: a click-event file of any size, the same for the same seed.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::clicks::generate::ClickGenerator;
use crate::command::written;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::help::with_examples;
use crate::interrupt::Interrupt;

/// Rows are written in pieces of about this size.
const PIECE_BYTES: usize = 256 << 10;

/// Flags of `generate`.
#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES))]
pub struct GenerateArguments {
    /// What to make.
    #[command(subcommand)]
    what: Generate,
}

#[derive(Debug, Subcommand)]
enum Generate {
    /// Click events in the shape of the public data set "eCommerce behavior data"
    Clicks(ClickArguments),
}

/// Flags of `generate clicks`.
#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES))]
struct ClickArguments {
    /// How many rows, the header not counted
    #[arg(long, value_name = "N")]
    rows: u64,

    /// The same seed gives the same bytes
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,

    /// Write to this file instead of standard output
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
}

const EXAMPLES: &[(&str, &str)] = &[
    ("A million rows", "streamledger generate clicks --rows 1000000 --seed 7 > clicks.csv"),
    ("The sample in examples/", "streamledger generate clicks --rows 5000 --output clicks.csv"),
];

/// Writes the file.
pub fn run(arguments: &GenerateArguments) -> Outcome<Exit> {
    let Generate::Clicks(clicks) = &arguments.what;
    let interrupt = Interrupt::watch()?;
    let Some(path) = &clicks.output else {
        return write_clicks(clicks, &interrupt, &mut io::stdout()).or_else(|e| written(Err(e)));
    };
    let failed = |error: &io::Error| {
        Failure::new(Exit::Failed, format!("can't write {}", path.display()))
            .because(error)
            .remedy("check the directory and the space left on its disk")
    };
    let mut file = File::create(path).map_err(|error| failed(&error))?;
    write_clicks(clicks, &interrupt, &mut file).map_err(|error| failed(&error).into())
}

fn write_clicks(
    clicks: &ClickArguments,
    interrupt: &Interrupt,
    out: &mut dyn Write,
) -> io::Result<Exit> {
    let mut piece = Vec::with_capacity(PIECE_BYTES + 1024);
    ClickGenerator::header(&mut piece);
    let mut generator = ClickGenerator::new(clicks.seed);
    for _ in 0..clicks.rows {
        generator.row(&mut piece);
        if piece.len() >= PIECE_BYTES {
            out.write_all(&piece)?;
            piece.clear();
            if interrupt.is_raised() {
                return Ok(Exit::Interrupted);
            }
        }
    }
    out.write_all(&piece)?;
    out.flush()?;
    Ok(Exit::Done)
}
